// Quorums against brute force: what the two short functions compute is what counting every possibility gives.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JointQuorum } from "../../manager/raft/quorum/joint.ts";
import { type VoteResult, majorityCommitted, majorityVote } from "../../manager/raft/quorum/majority.ts";

const IDS = [1, 2, 3, 4, 5, 6, 7];
const voters = fc.subarray(IDS).map((ids) => new Set(ids));
const smallVoters = fc.subarray(IDS.slice(0, 5), { maxLength: 4 }).map((ids) => new Set(ids));
const index = fc.oneof(fc.nat(4), fc.nat(1000));
/** What each id acknowledged, voter or not; some said nothing. */
const acks = fc.array(fc.option(index), { minLength: IDS.length, maxLength: IDS.length });
const votes = fc
  .array(fc.option(fc.boolean()), { minLength: IDS.length, maxLength: IDS.length })
  .map((said) => new Map(IDS.flatMap((id, i) => (typeof said[i] === "boolean" ? [[id, said[i]] as const] : []))));

type Votes = ReadonlyMap<number, boolean>;
type Agrees = (holders: ReadonlySet<number>) => boolean;

const moreThanHalf =
  (set: ReadonlySet<number>): Agrees =>
  (holders) =>
    set.size === 0 || 2 * [...set].filter((id) => holders.has(id)).length > set.size;

const both =
  (a: ReadonlySet<number>, b: ReadonlySet<number>): Agrees =>
  (holders) =>
    moreThanHalf(a)(holders) && moreThanHalf(b)(holders);

/** The largest index whose holders are enough; Infinity where nobody is needed. */
function committedByTrying(acked: (id: number) => number, agrees: Agrees): number {
  if (agrees(new Set())) return Infinity;
  const candidates = [0, ...IDS.map(acked)].sort((a, b) => b - a);
  const found = candidates.find((candidate) => agrees(new Set(IDS.filter((id) => acked(id) >= candidate))));
  assert.ok(found !== undefined, "everybody holds index 0");
  return found;
}

/** Every way the missing votes could go. */
function voteByTrying(set: ReadonlySet<number>, said: Votes, agrees: Agrees): VoteResult {
  const missing = [...set].filter((id) => !said.has(id));
  const outcomes = new Set<boolean>();
  for (let way = 0; way < 2 ** missing.length; way++) {
    const late = missing.filter((_, i) => ((way >> i) & 1) === 1);
    outcomes.add(agrees(new Set([...[...said].filter(([, yes]) => yes).map(([id]) => id), ...late])));
  }
  if (outcomes.size > 1) return "pending";
  return outcomes.has(true) ? "won" : "lost";
}

function* subsets(ids: readonly number[]): Iterable<ReadonlySet<number>> {
  for (let bits = 0; bits < 2 ** ids.length; bits++) yield new Set(ids.filter((_, i) => ((bits >> i) & 1) === 1));
}

test("a majority commits what more than half of the voters hold, and nothing above it", () => {
  fc.assert(
    fc.property(voters, acks, (set, said) => {
      const acked = (id: number): number => said[id - 1] ?? 0;
      assert.equal(majorityCommitted(set, acked), committedByTrying(acked, moreThanHalf(set)));
    }),
    { numRuns: 2500 },
  );
});

test("a joint quorum commits what more than half of both halves hold, and nothing above it", () => {
  fc.assert(
    fc.property(voters, voters, acks, (incoming, outgoing, said) => {
      const acked = (id: number): number => said[id - 1] ?? 0;
      const joint = new JointQuorum({ incoming, outgoing });
      assert.equal(joint.committedIndex(acked), committedByTrying(acked, both(incoming, outgoing)));
    }),
    { numRuns: 2000 },
  );
});

test("a vote is won, lost or open as every way the missing votes could go says", () => {
  fc.assert(
    fc.property(voters, votes, (set, said) => {
      assert.equal(majorityVote(set, said), voteByTrying(set, said, moreThanHalf(set)));
    }),
    { numRuns: 1500 },
  );
});

test("a joint vote is won only where both halves are, and lost as soon as one is", () => {
  fc.assert(
    fc.property(voters, voters, votes, (incoming, outgoing, said) => {
      const joint = new JointQuorum({ incoming, outgoing });
      const [a, b] = [majorityVote(incoming, said), majorityVote(outgoing, said)];
      const tried = voteByTrying(joint.ids(), said, both(incoming, outgoing));
      const result = joint.voteResult(said);
      assert.equal(result, new JointQuorum({ incoming: outgoing, outgoing: incoming }).voteResult(said));
      assert.equal(result === "won", a === "won" && b === "won");
      assert.equal(result === "lost", a === "lost" || b === "lost");
      // Trying every way finds out no less: with both halves open the outcome is never fixed.
      assert.equal(result, tried);
    }),
    { numRuns: 1000 },
  );
});

test("two quorums of one membership share a voter, and so do those of a joint one with either half's", () => {
  fc.assert(
    fc.property(smallVoters, smallVoters, (incoming, outgoing) => {
      fc.pre(incoming.size > 0 && outgoing.size > 0);
      const joint = new JointQuorum({ incoming, outgoing });
      const wins = (quorum: JointQuorum, yes: ReadonlySet<number>): boolean =>
        quorum.voteResult(new Map(IDS.map((id) => [id, yes.has(id)]))) === "won";
      const all = [...joint.ids()];
      for (const half of [incoming, outgoing]) {
        const alone = new JointQuorum({ incoming: half, outgoing: [] });
        for (const yes of subsets(all)) {
          const rest = new Set(all.filter((id) => !yes.has(id)));
          assert.ok(!(wins(joint, yes) && wins(alone, rest)), `${[...yes].join()} and ${[...rest].join()} both win`);
          assert.ok(!(wins(alone, yes) && wins(alone, rest)), `${[...yes].join()} and ${[...rest].join()} both win`);
        }
      }
    }),
    { numRuns: 300 },
  );
});
