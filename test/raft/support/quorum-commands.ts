// The commands of the conformance data about quorums: what a majority or a joint quorum has committed, how a vote went.
// `cfg` and `cfgj` are the two halves, `zero` an empty one; `idx` and `votes` go to the ids in that order, each id once,
// `_` standing for what is not known. Beside the answer each command tries what must come to the same, and prints it
// where it does not.

import type { RaftId } from "../../../manager/raft/index.ts";
import { JointQuorum } from "../../../manager/raft/quorum/joint.ts";
import { type VoteResult, majorityCommitted, majorityVote } from "../../../manager/raft/quorum/majority.ts";
import type { Command } from "./datadriven.ts";

const VOTE_WORDS: Readonly<Record<VoteResult, string>> = { won: "VoteWon", lost: "VoteLost", pending: "VotePending" };

interface Halves {
  readonly incoming: readonly RaftId[];
  readonly outgoing: readonly RaftId[];
  /** Whether the joint form is asked for, be its second half empty. */
  readonly isJoint: boolean;
}

/** Runs one command. Its output. */
export function runQuorumCommand(command: Command): string {
  const halves: Halves = {
    incoming: values(command, "cfg").map(Number),
    outgoing: values(command, "cfgj")
      .filter((value) => value !== "zero")
      .map(Number),
    isJoint: command.args.some((arg) => arg.key === "cfgj"),
  };
  const given = values(command, command.name === "vote" ? "votes" : "idx");
  const ids = [...new Set([...halves.incoming, ...halves.outgoing])];
  if (ids.length !== given.length) {
    const voters = ids.sort((a, b) => a - b).map((id) => `${id}:{}`);
    return `error: mismatched input (explicit or _) for voters map[${voters.join(" ")}]: [${given.join(" ")}]`;
  }
  const known = ids.flatMap((id, i) => {
    const word = given[i] ?? "_";
    return word === "_" || word === "0" ? [] : [{ id, word }];
  });
  if (command.name === "committed") return committed(halves, new Map(known.map(({ id, word }) => [id, Number(word)])));
  if (command.name === "vote") return vote(halves, new Map(known.map(({ id, word }) => [id, word === "y"])));
  throw new Error(`unknown command ${command.name}`);
}

function values(command: Command, key: string): readonly string[] {
  return command.args.filter((arg) => arg.key === key).flatMap((arg) => arg.values);
}

function committed(halves: Halves, known: ReadonlyMap<RaftId, number>): string {
  const acknowledged = (id: RaftId): number => known.get(id) ?? 0;
  const { incoming, outgoing } = halves;
  const answer = halves.isJoint
    ? new JointQuorum(halves).committedIndex(acknowledged)
    : majorityCommitted(new Set(incoming), acknowledged);
  const others: readonly (readonly [string, number])[] = halves.isJoint
    ? [["symmetry", new JointQuorum({ incoming: outgoing, outgoing: incoming }).committedIndex(acknowledged)]]
    : [
        ["zero-joint quorum", new JointQuorum({ incoming, outgoing: [] }).committedIndex(acknowledged)],
        ["self-joint quorum", new JointQuorum({ incoming, outgoing: incoming }).committedIndex(acknowledged)],
      ];
  return `${describeQuorum([...new Set([...incoming, ...outgoing])], known)}${differing(others, answer)}${indexWord(answer)}\n`;
}

function differing(others: readonly (readonly [string, number])[], answer: number): string {
  const wrong = others.filter(([, other]) => other !== answer);
  return wrong.map(([way, other]) => `${indexWord(other)} <-- via ${way}\n`).join("");
}

function indexWord(index: number): string {
  return index === Infinity ? "∞" : String(index);
}

/** One bar per voter, as long as the number of voters that hold less. */
function describeQuorum(ids: readonly RaftId[], known: ReadonlyMap<RaftId, number>): string {
  if (ids.length === 0) return "<empty majority quorum>";
  const width = ids.length;
  const rows = [...ids]
    .sort((a, b) => a - b)
    .map((id) => {
      const index = known.get(id) ?? 0;
      const length = ids.filter((other) => (known.get(other) ?? 0) < index).length;
      const bar = known.has(id) ? `${"x".repeat(length)}>${" ".repeat(width - length)}` : `?${" ".repeat(width)}`;
      return `${bar} ${String(index).padStart(5)}    (id=${id})\n`;
    });
  return `${" ".repeat(width)}    idx\n${rows.join("")}`;
}

function vote(halves: Halves, votes: ReadonlyMap<RaftId, boolean>): string {
  const { incoming, outgoing } = halves;
  if (!halves.isJoint) return `${VOTE_WORDS[majorityVote(new Set(incoming), votes)]}\n`;
  const answer = new JointQuorum(halves).voteResult(votes);
  const swapped = new JointQuorum({ incoming: outgoing, outgoing: incoming }).voteResult(votes);
  const wrong = swapped === answer ? "" : `${VOTE_WORDS[swapped]} <-- via symmetry\n`;
  return `${wrong}${VOTE_WORDS[answer]}\n`;
}
