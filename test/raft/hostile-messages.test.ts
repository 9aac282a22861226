// Whatever a peer may send, sane or not, the core answers or refuses; it never throws, and never breaks its own order of
// applied, committed and last. (What a leader commits is trusted: members of a group are not each other's enemies.)

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Message, MessageType } from "../../manager/raft/index.ts";
import { LoneNode, entries } from "./support/lone-node.ts";

const TYPES: readonly MessageType[] = [
  "prop",
  "app",
  "appResp",
  "vote",
  "voteResp",
  "preVote",
  "preVoteResp",
  "snap",
  "heartbeat",
  "heartbeatResp",
  "transferLeader",
  "timeoutNow",
  "forgetLeader",
  "readIndex",
  "readIndexResp",
];
const small = fc.oneof({ weight: 20, arbitrary: fc.nat(6) }, fc.constantFrom(-1, 0.5, Number.NaN, 2 ** 53));
const ids = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
const PLAIN = { noNullPrototype: true };
const conf = fc.record(
  { voters: ids, learners: ids, votersOutgoing: ids, learnersNext: ids, autoLeave: fc.boolean() },
  PLAIN,
);
const snapshot = fc.record({ index: small, term: small, conf, data: fc.constant(new Uint8Array(0)) }, PLAIN);
const context = fc.oneof(
  fc.uint8Array({ maxLength: 9 }),
  fc.constant(new TextEncoder().encode("transfer")),
  fc.nat(3).map((round) => new Uint8Array([0, 0, 0, 0, 0, 0, 0, round])),
);

/** Entries that mostly follow the message's index, as checked messages have them. */
const hostile: fc.Arbitrary<Partial<Message> & { readonly type: MessageType }> = fc
  .record(
    {
      type: fc.constantFrom(...TYPES),
      from: fc.integer({ min: 0, max: 5 }),
      term: small,
      logTerm: small,
      index: small,
      commit: small,
      reject: fc.boolean(),
      rejectHint: small,
      context,
      snapshot: fc.option(snapshot),
      terms: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
      shift: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.constant(1)),
    },
    PLAIN,
  )
  .map(({ terms, shift, ...rest }) => ({ ...rest, entries: entries({ after: rest.index + shift, terms }) }));

const setups = fc.record({
  role: fc.constantFrom("follower", "candidate", "leader"),
  preVote: fc.boolean(),
  checkQuorum: fc.boolean(),
});

test("no message makes the core throw, whatever its role", () => {
  let taken = 0;
  fc.assert(
    fc.property(setups, fc.array(hostile, { maxLength: 12 }), ({ role, ...config }, messages) => {
      const node = new LoneNode({ voters: [1, 2, 3], learners: [4], terms: [1, 2, 2], commit: 2, config });
      node.settle();
      if (role === "leader") node.raw.campaign();
      if (role === "leader" && config.preVote) node.receive({ type: "preVoteResp", term: 3 });
      if (role === "leader") node.settle();
      if (role === "leader") node.receive({ type: "voteResp", term: 3 });
      if (role === "candidate") node.raw.campaign();
      for (const m of messages) {
        const error = node.receive(m);
        if (error === null) taken++;
        node.settle();
        const { applied, hard, lastIndex } = node.raw.status();
        assert.ok(applied <= hard.commit && hard.commit <= lastIndex);
      }
    }),
    { numRuns: 1000 },
  );
  assert.ok(taken > 500, `only ${taken} messages were taken`);
});
