// The rules of the Raft paper about the log: replication, commitment, safety and snapshots (5.3, 5.4.2, 7, 8,
// figure 2), and of the thesis about membership and reads: one test for each sentence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeConfChange, type ConfChange } from "../../manager/raft/index.ts";
import { LoneNode, entries } from "./support/lone-node.ts";

const THREE = { voters: [1, 2, 3] };
const FIVE = { voters: [1, 2, 3, 4, 5] };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const change = (type: "addNode" | "removeNode" | "addLearnerNode", nodeId: number): ConfChange => ({
  transition: "auto",
  changes: [{ type, nodeId }],
  context: new Uint8Array(0),
});

test("8: a new leader appends an empty entry of its term and sends it to everybody", () => {
  const node = new LoneNode(THREE);
  node.raw.campaign();
  node.settle();
  node.receive({ type: "voteResp", from: 2, term: 2 });
  const sent = node.settle();
  assert.deepEqual(node.terms, [2]);
  assert.deepEqual(
    sent.map((m) => `${m.type} to ${m.to}: ${m.entries.length}`),
    ["app to 2: 1", "app to 3: 1"],
  );
});

test("5.2: an idle leader sends heartbeats", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.tick(1);
  assert.deepEqual(
    node.settle().map((m) => `${m.type} ${m.to}`),
    ["heartbeat 2", "heartbeat 3"],
  );
});

test("5.3: a leader appends a proposal to its log, sends it, and applies it once a majority holds it", () => {
  const node = new LoneNode(THREE).lead([2]);
  assert.equal(node.raw.propose([bytes("x")]), null);
  assert.deepEqual(node.terms, [2], "in memory until it is stored");
  node.acknowledge(2, 2);
  node.settle();
  assert.deepEqual(node.terms, [2, 2]);
  assert.deepEqual(
    node.applied.map((entry) => entry.index),
    [2],
    "only its first entry is held by two",
  );
  node.acknowledge(2, 3);
  node.settle();
  assert.deepEqual(
    node.applied.map((entry) => entry.index),
    [2, 3],
  );
});

test("5.3: followers pass proposals to their leader, and drop them where they know none", () => {
  const node = new LoneNode(THREE);
  assert.deepEqual(node.raw.propose([bytes("x")]), { kind: "proposal-dropped" });
  node.receive({ type: "heartbeat", term: 1, from: 3 });
  node.settle();
  assert.equal(node.raw.propose([bytes("x")]), null);
  assert.deepEqual(
    node.settle().map((m) => `${m.type} ${m.to}`),
    ["prop 3"],
  );
});

test("5.3: a follower refuses entries where its log lacks the one before them, and says where they may agree", () => {
  const cases = [
    { own: [1, 2], index: 3, logTerm: 2, isHeld: true },
    { own: [1, 2], index: 3, logTerm: 3, isHeld: false, hint: "3/2" },
    { own: [1, 2], index: 5, logTerm: 3, isHeld: false, hint: "3/2" },
    { own: [1, 4, 4, 4], index: 5, logTerm: 3, isHeld: false, hint: "2/1" },
  ];
  for (const { own, index, logTerm, isHeld, hint } of cases) {
    const node = new LoneNode({ ...THREE, terms: own, term: 5 });
    node.receive({ type: "app", term: 5, index, logTerm });
    const [answer] = node.settle();
    assert.equal(answer?.reject, !isHeld);
    if (hint !== undefined) assert.equal(`${answer.rejectHint}/${answer.logTerm}`, hint);
  }
});

test("5.3: conflicting entries are deleted with all that follow, others are kept", () => {
  const own = [1, 2, 2, 2];
  const cases = [
    { after: 3, previous: 2, terms: [3], result: [1, 2, 3] },
    { after: 1, previous: 1, terms: [1, 2], result: [1, 2, 2, 2] },
    { after: 1, previous: 1, terms: [], result: [1, 2, 2, 2] },
    { after: 2, previous: 1, terms: [3, 3], result: [1, 3, 3] },
    { after: 5, previous: 2, terms: [2, 3], result: [1, 2, 2, 2, 2, 3] },
  ];
  for (const { after, previous, terms, result } of cases) {
    const node = new LoneNode({ ...THREE, terms: own, term: 3 });
    node.receive({ type: "app", term: 3, index: after, logTerm: previous, entries: entries({ after, terms }) });
    node.settle();
    assert.deepEqual(node.terms, result, `${terms.join(",")} after ${after}`);
  }
});

test("5.3: a follower commits up to the leader's commit, but not beyond the last entry it was sent", () => {
  const cases = [
    { sent: 1, commit: 9, expected: 2 },
    { sent: 3, commit: 3, expected: 3 },
    { sent: 0, commit: 4, expected: 1 },
  ];
  for (const { sent, commit, expected } of cases) {
    const node = new LoneNode({ ...THREE, terms: [1, 1, 1], term: 1 });
    const sentEntries = entries({ after: 1, terms: [1, 1, 1].slice(0, sent) });
    node.receive({ type: "app", term: 1, index: 1, logTerm: 1, entries: sentEntries, commit });
    node.settle();
    assert.equal(node.raw.status().hard.commit, expected);
  }
});

test("5.3: an acknowledgement leaves only after its entries are durable", () => {
  const node = new LoneNode({ ...THREE, config: { asyncStorageWrites: true } });
  node.receive({ type: "app", term: 1, index: 1, logTerm: 1, entries: entries({ after: 1, terms: [1] }) });
  const { messages, mustSync } = node.raw.ready();
  assert.ok(mustSync);
  assert.deepEqual(
    messages.map((m) => m.type),
    ["storageAppend"],
  );
  assert.deepEqual(
    messages[0]?.responses.map((m) => m.type),
    ["appResp", "storageAppendResp"],
  );
});

test("5.3: a leader whose append is refused goes back until the logs agree, then sends the rest", () => {
  const node = new LoneNode({ ...THREE, terms: [1, 3, 3], term: 3 }).lead([2]);
  node.receive({ type: "appResp", term: 4, from: 2, index: 4, reject: true, rejectHint: 4, logTerm: 2 });
  const [probe] = node.settle();
  assert.equal(probe?.index, 2, "the terms above the hint's are skipped");
  assert.equal(probe.entries.length, 3);
});

test("5.3: a leader sends everything from the next index on and notes what is acknowledged", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.acknowledge(2, 2);
  node.settle();
  node.raw.propose([bytes("a"), bytes("b")]);
  const sent = node.settle().find((m) => m.to === 2);
  assert.deepEqual(
    sent?.entries.map((entry) => entry.index),
    [3, 4],
  );
  node.acknowledge(2, 4);
  assert.equal(node.raw.status().progress.get(2)?.match, 4);
});

test("5.3: a leader never deletes or replaces entries of its own log", () => {
  const node = new LoneNode(THREE).lead([2]);
  const before = node.terms;
  node.receive({
    type: "app",
    term: node.term,
    from: 3,
    index: 1,
    logTerm: 1,
    entries: entries({ after: 1, terms: [1] }),
  });
  node.settle();
  assert.deepEqual(node.terms, before);
});

test("5.4.2: an entry of an earlier term is committed only along with one of the leader's own", () => {
  // Figure 8: a majority holds the entry of term 2, and it may still be lost.
  const node = new LoneNode({ ...FIVE, terms: [2], term: 3 }).lead([2, 3]);
  for (const from of [2, 3]) node.acknowledge(from, 2);
  node.settle();
  assert.equal(node.raw.status().hard.commit, 1);
  for (const from of [2, 3]) node.acknowledge(from, 3);
  node.settle();
  assert.equal(node.raw.status().hard.commit, 3);
});

test("5.4.2: a majority decides the commit, the leader's own log counts only when it is durable", () => {
  const node = new LoneNode({ voters: [1, 2, 3], config: { asyncStorageWrites: true } });
  node.raw.campaign();
  const vote = node.raw.ready().messages.at(-1)?.responses ?? [];
  for (const response of vote) node.raw.step(response);
  node.receive({ type: "voteResp", from: 2, term: 2 });
  const { messages } = node.raw.ready();
  node.acknowledge(2, 2);
  assert.equal(node.raw.status().hard.commit, 1, "one of three is durable");
  for (const response of messages.at(-1)?.responses ?? []) node.raw.step(response);
  assert.equal(node.raw.status().hard.commit, 2);
});

test("5.5: repeated messages do no harm", () => {
  const node = new LoneNode(THREE);
  const append = {
    type: "app",
    term: 1,
    index: 1,
    logTerm: 1,
    entries: entries({ after: 1, terms: [1] }),
    commit: 2,
  } as const;
  for (let i = 0; i < 3; i++) node.receive(append);
  node.settle();
  assert.deepEqual(node.terms, [1]);
  assert.deepEqual(
    node.applied.map((entry) => entry.index),
    [2],
  );
});

test("figure 2: committed entries are applied once, in order", () => {
  const node = new LoneNode({ ...THREE, terms: [1, 1, 1], commit: 3 });
  node.settle();
  node.receive({ type: "heartbeat", term: 1, commit: 4 });
  node.settle();
  assert.deepEqual(
    node.applied.map((entry) => entry.index),
    [2, 3, 4],
  );
});

test("7: a snapshot replaces a log that ends before it or contradicts it, and is kept for one that holds it", () => {
  const conf = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const cases = [
    { own: [1], index: 5, term: 2, last: 5, stored: [] },
    { own: [1, 1, 1], index: 3, term: 2, last: 3, stored: [] },
    { own: [1, 2, 2, 2], index: 3, term: 2, last: 5, stored: [1, 2, 2, 2] },
  ];
  for (const { own, index, term, last, stored } of cases) {
    const node = new LoneNode({ ...THREE, terms: own, term: 3 });
    node.receive({ type: "snap", term: 3, snapshot: { index, term, conf, data: new Uint8Array(0) } });
    const [answer] = node.settle();
    assert.equal(answer?.index, index);
    assert.equal(node.raw.status().lastIndex, last);
    assert.equal(node.raw.status().hard.commit, index);
    assert.deepEqual(node.terms, stored);
  }
});

test("7: a snapshot of what is committed already changes nothing, and the sender learns how far this log is", () => {
  const conf = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const node = new LoneNode({ ...THREE, terms: [1, 1, 1, 1], commit: 4 });
  node.settle();
  node.storage.compact(4);
  node.receive({ type: "snap", term: 1, snapshot: { index: 2, term: 1, conf, data: new Uint8Array(0) } });
  const ready = node.work();
  assert.equal(ready.snapshot, null);
  assert.deepEqual(
    ready.messages.map(({ type, index }) => ({ type, index })),
    [{ type: "appResp", index: 4 }],
  );
  assert.deepEqual([node.raw.status().hard.commit, node.raw.status().lastIndex], [4, 5]);
});

test("7: a snapshot is sent with the membership of its index, whatever the membership is today", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.acknowledge(2, 2);
  node.settle();
  node.raw.proposeConfChange(change("addLearnerNode", 4));
  node.acknowledge(2, 3);
  node.settle();
  assert.deepEqual(node.raw.status().conf.learners, [4]);
  node.storage.compact(3);
  // Member 3 lost its log, and this one does not reach back that far.
  node.receive({ type: "appResp", from: 3, term: node.term, index: 1, reject: true });
  const snapshots = node.settle().filter((m) => m.type === "snap" && m.to === 3);
  assert.deepEqual(
    snapshots.map(({ snapshot }) => [snapshot?.index, snapshot?.conf.voters, snapshot?.conf.learners]),
    [[1, [1, 2, 3], []]],
  );
});

test("thesis 4.1: a second membership change waits until the first is applied", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.acknowledge(2, 2);
  node.settle();
  node.raw.proposeConfChange(change("addNode", 4));
  node.raw.proposeConfChange(change("addNode", 5));
  node.acknowledge(2, 4);
  node.settle();
  assert.deepEqual(node.raw.status().conf.voters, [1, 2, 3, 4]);
  assert.equal(node.events.filter((event) => event.kind === "confChangeIgnored").length, 1);
  node.acknowledge(2, 4);
  node.raw.proposeConfChange(change("addNode", 5));
  node.settle();
  for (const from of [2, 3]) node.acknowledge(from, 5);
  node.settle();
  assert.deepEqual(node.raw.status().conf.voters, [1, 2, 3, 4, 5]);
});

test("thesis 4.1: a change that no membership can take is refused before it enters the log", () => {
  const node = new LoneNode({ voters: [1] }).lead([]);
  node.raw.proposeConfChange(change("removeNode", 1));
  node.settle();
  assert.deepEqual(node.raw.status().conf.voters, [1]);
  const [ignored] = node.events.filter((event) => event.kind === "confChangeIgnored");
  assert.equal(ignored?.reason, "removed all voters");
});

test("thesis 4.1: a member that has a committed change to apply does not campaign before", () => {
  const node = new LoneNode({ ...THREE, terms: [1] });
  const { type, data } = encodeConfChange(change("removeNode", 3), "batch");
  node.receive({ type: "app", term: 1, index: 2, logTerm: 1, entries: [{ term: 1, index: 3, type, data }], commit: 3 });
  node.raw.campaign();
  assert.equal(node.role, "follower");
  node.settle();
  assert.deepEqual(node.raw.status().conf.voters, [1, 2]);
  node.raw.campaign();
  assert.equal(node.role, "candidate");
});

test("thesis 4.2.2: a leader that removed itself steps down", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.acknowledge(2, 2);
  node.settle();
  node.raw.proposeConfChange(change("removeNode", 1));
  node.settle();
  node.acknowledge(2, 3);
  node.settle();
  assert.equal(node.role, "follower");
  assert.equal(node.raw.status().isVoter, false);
  assert.deepEqual(node.raw.readIndex(bytes("r")), { kind: "read-refused", reason: "no-leader" });
});

test("thesis 4.3: in a joint membership both majorities decide", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.acknowledge(2, 2);
  node.settle();
  const changes = [4, 5].map((nodeId) => ({ type: "addNode", nodeId }) as const);
  node.raw.proposeConfChange({ transition: "explicit", changes, context: new Uint8Array(0) });
  node.settle();
  node.acknowledge(2, 3);
  node.settle();
  assert.deepEqual(node.raw.status().conf.votersOutgoing, [1, 2, 3]);
  node.raw.propose([bytes("x")]);
  node.settle();
  for (const from of [4, 5]) node.acknowledge(from, 4);
  node.settle();
  assert.equal(node.raw.status().hard.commit, 3, "three of five, but one of the old three");
  node.acknowledge(2, 4);
  node.settle();
  assert.equal(node.raw.status().hard.commit, 4);
});

test("thesis 6.4: a read is answered with the commit once a majority confirms the leader", () => {
  const node = new LoneNode(FIVE).lead([2, 3]);
  for (const from of [2, 3]) node.acknowledge(from, 2);
  node.settle();
  assert.equal(node.raw.readIndex(bytes("r")), null);
  const beat = node.settle().find((m) => m.type === "heartbeat");
  const confirm = (from: number): void => {
    node.receive({ type: "heartbeatResp", from, term: node.term, context: beat?.context ?? new Uint8Array(0) });
  };
  confirm(4);
  assert.equal(node.raw.hasReady() ? node.work().readStates.length : 0, 0, "two of five");
  confirm(5);
  assert.deepEqual(node.work().readStates, [{ kind: "ready", index: 2, context: bytes("r") }]);
});

test("thesis 6.4: a read is answered by confirmations of its own round or a later one, never of an earlier one", () => {
  const node = new LoneNode(THREE).lead([2]);
  node.acknowledge(2, 2);
  node.settle();
  const ask = (context: string): Uint8Array => {
    assert.equal(node.raw.readIndex(bytes(context)), null);
    const beats = node.settle().filter((m) => m.type === "heartbeat" && m.to === 2);
    return beats.at(-1)?.context ?? new Uint8Array(0);
  };
  const answered = (context: Uint8Array): readonly string[] => {
    node.receive({ type: "heartbeatResp", from: 2, term: node.term, context });
    const reads = node.raw.hasReady() ? node.work().readStates : [];
    return reads.map((read) => `${new TextDecoder().decode(read.context)} ${read.kind}`);
  };
  const first = ask("first");
  const second = ask("second");
  assert.deepEqual(answered(first), ["first ready"]);
  assert.deepEqual(answered(first), []);
  assert.deepEqual(answered(second), ["second ready"]);
  const third = ask("third");
  const fourth = ask("fourth");
  assert.deepEqual(answered(fourth), ["third ready", "fourth ready"]);
  assert.deepEqual(answered(third), []);
});
