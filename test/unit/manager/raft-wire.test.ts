// Raft's messages to bytes and back: nothing is changed on the way, and what makes no sense is refused without a throw.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Entry, type Message, type MessageType, RAFT_ID_MAX, message } from "raft-ts";
import { type Membership, NO_MEMBERSHIP } from "../../../manager/replication/membership.ts";
import { messageFromWire, messageToWire } from "../../../manager/replication/grpc/raft-wire.ts";
import { RaftMessage } from "../../../proto/gen/raft.ts";

const PEER_TYPES: readonly MessageType[] = [
  ...(["prop", "app", "appResp", "vote", "voteResp", "preVote", "preVoteResp", "heartbeat", "heartbeatResp"] as const),
  ...(["transferLeader", "timeoutNow", "forgetLeader", "readIndex", "readIndexResp"] as const),
];

const raftId = fc.integer({ min: 1, max: RAFT_ID_MAX });
const place = fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER));
const entry: fc.Arbitrary<Entry> = fc.record({
  term: place,
  index: place,
  type: fc.constantFrom(0, 1, 2),
  data: fc.uint8Array({ maxLength: 50 }),
});
const common = {
  to: raftId,
  from: raftId,
  term: place,
  logTerm: place,
  index: place,
  commit: place,
  reject: fc.boolean(),
  rejectHint: place,
  context: fc.uint8Array({ maxLength: 1_024 }),
};
const plain: fc.Arbitrary<Message> = fc
  .record({ type: fc.constantFrom(...PEER_TYPES), entries: fc.array(entry, { maxLength: 5 }), ...common })
  .map(message);
const ids = fc.array(raftId, { maxLength: 4 });
const membership: fc.Arbitrary<Membership> = fc.record({
  conf: fc.record({
    ...{ voters: ids, learners: ids, votersOutgoing: ids, learnersNext: ids },
    autoLeave: fc.boolean(),
  }),
  members: fc.array(fc.record({ raftId, nodeId: fc.string({ maxLength: 30 }), addr: fc.string({ maxLength: 30 }) }), {
    maxLength: 4,
  }),
  removed: ids,
});

function overTheWire(sent: Message, members?: Membership): ReturnType<typeof messageFromWire> {
  const wire = messageToWire(sent, members);
  assert.ok(wire !== undefined, `${sent.type} is said to peers`);
  return messageFromWire(RaftMessage.decode(RaftMessage.encode(wire).finish()));
}

/** Bytes by value: what was decoded may be a Buffer. */
function plainBytes(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, each: unknown) => (each instanceof Uint8Array ? { bytes: [...each] } : each)),
  );
}

function normal(sent: Message): unknown {
  const bytes = (data: Uint8Array): Uint8Array => Uint8Array.from(data);
  const entries = sent.entries.map((each) => ({ ...each, data: bytes(each.data) }));
  return plainBytes({ ...sent, entries, context: bytes(sent.context) });
}

test("every message for peers arrives as it was sent", () => {
  fc.assert(
    fc.property(plain, (sent) => {
      const arrived = overTheWire(sent);
      assert.ok(arrived !== undefined);
      assert.deepEqual(normal(arrived.message), normal(sent));
      assert.deepEqual(arrived.membership, NO_MEMBERSHIP);
    }),
    { numRuns: 500, seed: 11 },
  );
});

test("a snapshot's message brings its place in the log and the membership there", () => {
  fc.assert(
    fc.property(fc.record(common), membership, place, (fields, members, index) => {
      const snapshot = { index, term: fields.term, conf: members.conf, data: new Uint8Array(0) };
      const arrived = overTheWire(message({ type: "snap", ...fields, snapshot }), members);
      assert.ok(arrived !== undefined);
      assert.deepEqual(plainBytes(arrived.membership), plainBytes(members));
      assert.deepEqual(plainBytes(arrived.message.snapshot), plainBytes(snapshot));
    }),
    { numRuns: 200, seed: 12 },
  );
});

test("what the core says to its own storage has no form on the wire", () => {
  for (const type of ["storageAppend", "storageAppendResp", "storageApply", "hup", "beat", "snapStatus"] as const)
    assert.equal(messageToWire(message({ type, from: 1, to: 2 })), undefined);
});

test("bytes of any kind are read or refused, and what is read is within bounds", () => {
  const wire = (m: Message): Uint8Array => RaftMessage.encode(messageToWire(m) ?? assert.fail()).finish();
  const damaged = fc.tuple(plain, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([m, at, value]) => {
    const bytes = Uint8Array.from(wire(m));
    bytes[at % bytes.length] = value;
    return bytes;
  });
  let read = 0;
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 40 })), (bytes) => {
      let decoded: RaftMessage;
      try {
        decoded = RaftMessage.decode(bytes);
      } catch (error) {
        // Not a message at all: the stream's own decoder ends the call.
        assert.ok(error instanceof Error);
        return;
      }
      const arrived = messageFromWire(decoded)?.message;
      if (arrived === undefined) return;
      read += 1;
      for (const each of [arrived.to, arrived.from]) assert.ok(each >= 1 && each <= RAFT_ID_MAX);
      for (const { type, index } of arrived.entries) assert.ok(type <= 2 && Number.isSafeInteger(index));
    }),
    { numRuns: 1_000, seed: 13 },
  );
  assert.ok(read > 50, `${read} of the damaged ones were still messages`);
});

test("a message is refused that is of no known kind, names no member, or is larger than any real one", () => {
  const good = messageToWire(message({ type: "app", from: 1, to: 2, term: 3 })) ?? assert.fail();
  const [entries, context] = [[{ term: 1, index: 1, type: 0, data: new Uint8Array(0) }], new Uint8Array(1_025)];
  assert.ok(messageFromWire({ ...good, entries }) !== undefined);
  const snapshot = { index: 1, term: 1, membership: undefined };
  const wrong: Readonly<Record<string, Partial<Record<keyof RaftMessage, unknown>>>> = {
    "no kind": { type: 0 },
    "an unknown kind": { type: 99 },
    "from nobody": { from: 0 },
    "to one of the storage threads": { to: Number.MAX_SAFE_INTEGER },
    "a place that is no integer": { index: 1.5 },
    "a place beyond what is exact": { commit: 2 ** 53 },
    "a long context": { context },
    "an entry of an unknown kind": { entries: [{ ...entries[0], type: 3 }] },
    "too many entries": { entries: new Array(100_001).fill(entries[0]) },
    "a snapshot in another kind": { snapshot },
    "a snapshot's message without one": { type: 8 },
  };
  for (const [what, fields] of Object.entries(wrong))
    assert.equal(messageFromWire({ ...good, ...fields } as RaftMessage), undefined, what);
});

test("a snapshot is refused whose membership names what cannot be a member", () => {
  const { conf } = NO_MEMBERSHIP;
  const member = { raftId: 1, nodeId: "n", addr: "a:1" };
  const at = (members: Membership): ReturnType<typeof messageFromWire> => {
    const snapshot = { index: 1, term: 1, conf: members.conf, data: new Uint8Array(0) };
    return overTheWire(message({ type: "snap", from: 1, to: 2, term: 1, snapshot }), members);
  };
  assert.ok(at({ conf: { ...conf, voters: [1] }, members: [member], removed: [7] }) !== undefined);
  const many = Array.from({ length: 1_001 }, (_, index) => index + 1);
  for (const members of [
    { conf: { ...conf, voters: [0] }, members: [], removed: [] },
    { conf, members: [{ ...member, raftId: 0 }], removed: [] },
    { conf, members: [{ ...member, addr: "x".repeat(301) }], removed: [] },
    { conf, members: [], removed: many },
  ])
    assert.equal(at(members), undefined);
});
