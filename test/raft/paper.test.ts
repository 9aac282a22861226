// The rules of the Raft paper about terms, votes and elections (5.1, 5.2, 5.4.1, figure 2) and of the thesis about
// pre-votes, quorum checks and transfers: one test for each sentence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LoneNode } from "./support/lone-node.ts";

const THREE = { voters: [1, 2, 3] };
const FIVE = { voters: [1, 2, 3, 4, 5] };

test("5.1: any role that sees a higher term adopts it and becomes a follower", () => {
  const follower = new LoneNode(THREE);
  const candidate = new LoneNode(THREE);
  candidate.raw.campaign();
  const leader = new LoneNode(THREE).lead([2]);
  for (const node of [follower, candidate, leader]) {
    node.receive({ type: "appResp", term: 9 });
    assert.equal(node.role, "follower");
    assert.equal(node.term, 9);
    assert.equal(node.raw.status().leader, 0);
  }
});

test("5.1: a message of a lower term changes nothing", () => {
  const node = new LoneNode({ ...THREE, term: 5 });
  node.receive({ type: "app", term: 4, index: 1, logTerm: 1, entries: [] });
  assert.equal(node.term, 5);
  assert.equal(node.raw.status().leader, 0);
  assert.deepEqual(node.settle(), []);
});

test("5.1: with pre-votes a leader of a lower term is told the higher one", () => {
  const node = new LoneNode({ ...THREE, term: 5, config: { preVote: true } });
  node.receive({ type: "heartbeat", term: 4 });
  const sent = node.settle();
  assert.deepEqual(
    sent.map(({ type, term }) => ({ type, term })),
    [{ type: "appResp", term: 5 }],
  );
});

test("5.2: members start as followers", () => {
  assert.equal(new LoneNode(THREE).role, "follower");
});

test("5.2: a follower that hears nobody for an election timeout campaigns", () => {
  const node = new LoneNode(THREE);
  node.tick(9);
  assert.equal(node.role, "follower");
  node.tick(1);
  assert.equal(node.role, "candidate");
});

test("5.2: a follower that hears its leader, or gives its vote, waits anew", () => {
  const heard = new LoneNode(THREE);
  const voted = new LoneNode(THREE);
  heard.tick(9);
  voted.tick(9);
  heard.receive({ type: "heartbeat", term: 1 });
  voted.receive({ type: "vote", term: 2, index: 1, logTerm: 1 });
  for (const node of [heard, voted]) {
    node.tick(9);
    assert.equal(node.role, "follower");
    node.tick(1);
    assert.equal(node.role, "candidate");
  }
});

test("5.2: a follower that refuses its vote does not wait anew for it", () => {
  const node = new LoneNode({ ...THREE, terms: [1, 1] });
  node.receive({ type: "vote", term: 1, index: 1, logTerm: 1 });
  node.tick(9);
  node.receive({ type: "vote", term: 1, index: 1, logTerm: 1 });
  node.tick(1);
  assert.equal(node.role, "candidate");
});

test("5.2: a candidate raises its term, votes for itself and asks everybody else", () => {
  const node = new LoneNode({ ...THREE, term: 4, terms: [3] });
  node.raw.campaign();
  const ready = node.work();
  assert.deepEqual(ready.hardState, { term: 5, vote: 1, commit: 1 });
  assert.ok(ready.mustSync);
  assert.deepEqual(
    ready.messages.map(({ type, to, term, index, logTerm }) => ({ type, to, term, index, logTerm })),
    [2, 3].map((to) => ({ type: "vote", to, term: 5, index: 2, logTerm: 3 })),
  );
});

test("5.2: a majority of votes makes a leader, less does not", () => {
  const cases = [
    { node: new LoneNode({ voters: [1] }), votes: [], wins: true },
    { node: new LoneNode(THREE), votes: [], wins: false },
    { node: new LoneNode(THREE), votes: [2], wins: true },
    { node: new LoneNode(FIVE), votes: [2], wins: false },
    { node: new LoneNode(FIVE), votes: [2, 2, 2], wins: false },
    { node: new LoneNode(FIVE), votes: [2, 5], wins: true },
    { node: new LoneNode({ voters: [1, 2, 3, 4] }), votes: [2], wins: false },
    { node: new LoneNode({ voters: [1, 2, 3], learners: [4] }), votes: [4], wins: false },
  ];
  for (const { node, votes, wins } of cases) {
    node.raw.campaign();
    node.settle();
    for (const from of votes) node.receive({ type: "voteResp", from, term: 2 });
    node.settle();
    assert.equal(node.role, wins ? "leader" : "candidate", `votes of ${votes.join(",")}`);
  }
});

test("5.2: a majority of refusals ends a candidacy in the same term", () => {
  const node = new LoneNode(FIVE);
  node.raw.campaign();
  node.settle();
  for (const from of [2, 3]) node.receive({ type: "voteResp", from, term: 2, reject: true });
  assert.equal(node.role, "candidate");
  node.receive({ type: "voteResp", from: 4, term: 2, reject: true });
  assert.equal(node.role, "follower");
  assert.equal(node.term, 2);
});

test("5.2: the own vote counts only once it is durable", () => {
  const node = new LoneNode({ voters: [1, 2], config: { asyncStorageWrites: true } });
  node.raw.campaign();
  const { messages } = node.raw.ready();
  node.receive({ type: "voteResp", from: 2, term: 2 });
  assert.equal(node.role, "candidate");
  for (const response of messages.at(-1)?.responses ?? []) node.raw.step(response);
  assert.equal(node.role, "leader");
});

test("5.2: nobody leads by others' votes alone: the own term must be durable first", () => {
  const node = new LoneNode({ ...THREE, config: { asyncStorageWrites: true } });
  node.raw.campaign();
  const { messages } = node.raw.ready();
  for (const from of [2, 3]) node.receive({ type: "voteResp", from, term: 2 });
  assert.equal(node.role, "candidate");
  for (const response of messages.at(-1)?.responses ?? []) node.raw.step(response);
  assert.equal(node.role, "leader");
});

test("5.2: a candidate that hears a leader of its term follows it", () => {
  for (const type of ["app", "heartbeat"] as const) {
    const node = new LoneNode(THREE);
    node.raw.campaign();
    node.receive({ type, term: 2, index: 1, logTerm: 1, from: 3 });
    assert.equal(node.role, "follower");
    assert.equal(node.raw.status().leader, 3);
    assert.equal(node.term, 2);
  }
});

test("5.2: a candidate without an outcome campaigns again in a new term", () => {
  const node = new LoneNode(THREE);
  node.raw.campaign();
  node.settle();
  node.tick(10);
  assert.equal(node.role, "candidate");
  assert.equal(node.term, 3);
});

test("5.2: election timeouts are drawn anew from [n, 2n)", () => {
  const seen = new Set<number>();
  let draw = 0;
  const node = new LoneNode({ ...THREE, config: { random: (below) => draw++ % below } });
  for (let i = 0; i < 10; i++) {
    const before = node.term;
    let ticks = 0;
    while (node.term === before) {
      node.tick(1);
      ticks++;
    }
    seen.add(ticks);
    assert.ok(ticks >= 10 && ticks < 20, `${ticks} ticks`);
  }
  assert.ok(seen.size > 1);
});

test("5.2: a member votes once per term, first come first served, and repeats its answer", () => {
  const node = new LoneNode(THREE);
  const ask = (from: number): boolean | undefined => {
    node.receive({ type: "vote", from, term: 2, index: 1, logTerm: 1 });
    return node.settle().at(-1)?.reject;
  };
  assert.equal(ask(2), false);
  assert.equal(ask(3), true);
  assert.equal(ask(2), false);
});

test("5.2: a vote leaves only with the Ready that stores it", () => {
  const node = new LoneNode(THREE);
  node.receive({ type: "vote", term: 2, index: 1, logTerm: 1 });
  const ready = node.work();
  assert.deepEqual(ready.hardState, { term: 2, vote: 2, commit: 1 });
  assert.ok(ready.mustSync);
  assert.deepEqual(
    ready.messages.map((m) => m.type),
    ["voteResp"],
  );

  const inOwnTerm = new LoneNode({ ...THREE, term: 2 });
  inOwnTerm.receive({ type: "vote", term: 2, index: 1, logTerm: 1 });
  const { hardState, mustSync } = inOwnTerm.work();
  assert.deepEqual({ hardState, mustSync }, { hardState: { term: 2, vote: 2, commit: 1 }, mustSync: true });

  const parallel = new LoneNode({ ...THREE, config: { asyncStorageWrites: true } });
  parallel.receive({ type: "vote", term: 2, index: 1, logTerm: 1 });
  const { messages } = parallel.raw.ready();
  assert.deepEqual(
    messages.map((m) => m.type),
    ["storageAppend"],
    "nothing leaves beside the write",
  );
  assert.deepEqual(
    messages[0]?.responses.map((m) => m.type),
    ["voteResp"],
  );
});

test("5.4.1: a vote goes only to a log that is at least as up to date", () => {
  const own = { ...THREE, terms: [2, 3], term: 3 };
  const cases = [
    { index: 3, logTerm: 3, granted: true },
    { index: 4, logTerm: 3, granted: true },
    { index: 2, logTerm: 3, granted: false },
    { index: 2, logTerm: 4, granted: true },
    { index: 9, logTerm: 2, granted: false },
  ];
  for (const { granted, ...last } of cases) {
    const node = new LoneNode(own);
    node.receive({ type: "vote", term: 5, ...last });
    assert.equal(node.settle().at(-1)?.reject, !granted, JSON.stringify(last));
  }
});

test("thesis 9.6: a pre-vote changes neither term nor vote, and only its majority starts an election", () => {
  const node = new LoneNode({ ...THREE, config: { preVote: true } });
  node.tick(10);
  assert.equal(node.role, "preCandidate");
  const ready = node.work();
  assert.equal(ready.hardState, null);
  assert.deepEqual(
    ready.messages.map((m) => `${m.type} ${m.term}`),
    ["preVote 2", "preVote 2"],
  );
  assert.equal(node.term, 1);
  node.receive({ type: "preVoteResp", term: 2 });
  assert.equal(node.role, "candidate");
  assert.equal(node.term, 2);
});

test("thesis 9.6: who answers a pre-vote does not enter its term", () => {
  const node = new LoneNode(THREE);
  node.receive({ type: "preVote", term: 7, index: 1, logTerm: 1 });
  assert.deepEqual(
    node.settle().map((m) => `${m.type} ${m.term} ${m.reject}`),
    ["preVoteResp 7 false"],
  );
  assert.equal(node.term, 1);
  assert.equal(node.raw.status().hard.vote, 0);
});

test("thesis 4.2.3: while it hears a leader a member ignores votes, unless the leader hands over", () => {
  const node = new LoneNode({ ...THREE, config: { checkQuorum: true } });
  node.receive({ type: "heartbeat", term: 1 });
  node.settle();
  node.receive({ type: "vote", from: 3, term: 5, index: 1, logTerm: 1 });
  assert.deepEqual(node.settle(), []);
  assert.equal(node.term, 1);
  const context = new TextEncoder().encode("transfer");
  node.receive({ type: "vote", from: 3, term: 5, index: 1, logTerm: 1, context });
  assert.equal(node.settle().at(-1)?.type, "voteResp");
  assert.equal(node.term, 5);
});

test("thesis 6.2: a leader that hears no quorum for an election timeout steps down", () => {
  const node = new LoneNode({ ...FIVE, config: { checkQuorum: true } }).lead([2, 3]);
  node.tick(10);
  assert.equal(node.role, "follower", "nobody answered since the election");

  const heard = new LoneNode({ ...FIVE, config: { checkQuorum: true } }).lead([2, 3]);
  for (const from of [4, 5]) heard.receive({ type: "heartbeatResp", from, term: heard.term });
  heard.tick(10);
  assert.equal(heard.role, "leader");
  heard.receive({ type: "heartbeatResp", from: 4, term: heard.term });
  heard.tick(10);
  assert.equal(heard.role, "follower", "one of four is no quorum");
});

test("thesis 3.10: who is told to campaign at once does so, and says so", () => {
  const node = new LoneNode({ ...THREE, config: { preVote: true } });
  node.receive({ type: "heartbeat", term: 1 });
  node.receive({ type: "timeoutNow", term: 1 });
  assert.equal(node.role, "candidate");
  const votes = node.settle().filter((m) => m.type === "vote");
  assert.deepEqual(
    votes.map((m) => new TextDecoder().decode(m.context)),
    ["transfer", "transfer"],
  );
});

test("thesis 4.2.2: a learner neither campaigns nor counts, and still votes when asked", () => {
  const node = new LoneNode({ voters: [2, 3], learners: [1] });
  node.tick(50);
  node.raw.campaign();
  assert.equal(node.role, "follower");
  node.receive({ type: "vote", term: 2, index: 1, logTerm: 1 });
  assert.equal(node.settle().at(-1)?.reject, false);
});
