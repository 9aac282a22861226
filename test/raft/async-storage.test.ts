// Storage that works beside the network: what may be believed of it, and when. Each test is one race between the core and
// its two storage threads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConfState, type Message, decodeConfChange, encodeConfChange } from "../../manager/raft/index.ts";
import { LoneNode, entries } from "./support/lone-node.ts";

const ASYNC = { voters: [1, 2, 3], config: { asyncStorageWrites: true } };
const NO_BYTES = new Uint8Array(0);

/** The storage work in the next Ready, and what leaves at once. */
function nextWork(node: LoneNode): { append?: Message; apply?: Message; sent: readonly Message[] } {
  const { messages } = node.raw.ready();
  const append = messages.find((m) => m.type === "storageAppend");
  const apply = messages.find((m) => m.type === "storageApply");
  const sent = messages.filter((m) => m !== append && m !== apply);
  return { ...(append && { append }), ...(apply && { apply }), sent };
}

/** Does an append's work and tells the core. Returns what may be sent now. */
function store(node: LoneNode, work: Message | undefined): readonly Message[] {
  assert.ok(work !== undefined, "there is work for the append thread");
  const { term, vote, commit, snapshot } = work;
  if (term !== 0) node.storage.setHardState({ term, vote, commit });
  if (snapshot !== null) node.storage.applySnapshot(snapshot);
  node.storage.append(work.entries);
  for (const m of work.responses) if (m.to === 1) node.raw.step(m);
  return work.responses.filter((m) => m.to !== 1);
}

test("an answer of the storage from an earlier term says nothing of an entry that was replaced and came back", () => {
  const node = new LoneNode(ASYNC);
  const append = (from: number, term: number, terms: readonly number[]): Message | undefined => {
    node.receive({ type: "app", from, term, index: 1, logTerm: 1, entries: entries({ after: 1, terms }) });
    return nextWork(node).append;
  };
  const first = append(2, 2, [2]);
  const second = append(3, 3, [3]);
  append(2, 4, [2, 4]);
  store(node, first);
  store(node, second);
  // Storage holds entry 2 of term 3 for the moment; the log has it of term 2, from memory.
  assert.deepEqual(node.terms, [3]);
  node.receive({ type: "app", term: 4, index: 2, logTerm: 2, entries: [] });
  const answers = nextWork(node).append?.responses.filter((m) => m.type === "appResp");
  assert.deepEqual(
    answers?.map(({ reject }) => reject),
    [false],
  );
});

test("entries are handed out for applying only once this node's storage holds them, however committed they are", () => {
  const node = new LoneNode(ASYNC);
  node.receive({
    type: "app",
    term: 1,
    index: 1,
    logTerm: 1,
    entries: entries({ after: 1, terms: [1, 1] }),
    commit: 3,
  });
  const { append, apply } = nextWork(node);
  assert.equal(node.raw.status().hard.commit, 3);
  assert.equal(apply, undefined);
  store(node, append);
  assert.deepEqual(
    nextWork(node).apply?.entries.map(({ index }) => index),
    [2, 3],
  );
});

test("a membership change that a snapshot overtook on its way to the application changes nothing", () => {
  const node = new LoneNode(ASYNC);
  const removal = { transition: "auto", changes: [{ type: "removeNode", nodeId: 3 }], context: NO_BYTES } as const;
  const entry = { term: 1, index: 2, ...encodeConfChange(removal, "batch") };
  node.receive({ type: "app", term: 1, index: 1, logTerm: 1, entries: [entry], commit: 2 });
  store(node, nextWork(node).append);
  const { apply } = nextWork(node);
  assert.ok(apply !== undefined);
  // At index 9 member 3 is back, and 4 learns.
  const conf: ConfState = { voters: [1, 2, 3], learners: [4], votersOutgoing: [], learnersNext: [], autoLeave: false };
  node.receive({ type: "snap", term: 1, snapshot: { index: 9, term: 1, conf, data: NO_BYTES } });
  const late = decodeConfChange(2, apply.entries[0]?.data ?? NO_BYTES);
  assert.ok(late !== null);
  assert.equal(node.raw.applyConfChange(late, 2), null);
  assert.deepEqual(node.raw.status().conf, conf);
});

test("a snapshot is acknowledged, and what follows it applied, only after it is stored", () => {
  const node = new LoneNode(ASYNC);
  const conf: ConfState = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  node.receive({ type: "snap", term: 1, snapshot: { index: 5, term: 1, conf, data: NO_BYTES } });
  node.receive({
    type: "app",
    term: 1,
    index: 5,
    logTerm: 1,
    entries: entries({ after: 5, terms: [1] }),
    commit: 6,
  });
  const { append, apply, sent } = nextWork(node);
  assert.deepEqual(sent, []);
  assert.equal(apply, undefined);
  assert.equal(node.raw.status().applied, 1);
  assert.deepEqual(
    store(node, append).map(({ type, index }) => [type, index]),
    [
      ["appResp", 5],
      ["appResp", 6],
    ],
  );
  assert.equal(node.raw.status().applied, 5);
  assert.deepEqual(
    nextWork(node).apply?.entries.map(({ index }) => index),
    [6],
  );
});

test("a state that was stored before the commit that allowed it is committed when the node starts from it", () => {
  const node = new LoneNode({ ...ASYNC, terms: [1, 1, 1], commit: 1, config: { ...ASYNC.config, applied: 3 } });
  assert.deepEqual([node.raw.status().applied, node.raw.status().hard.commit], [3, 3]);
  assert.equal(node.raw.hasReady(), false);
});
