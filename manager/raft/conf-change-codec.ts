// How a membership change is written as an entry's data, in two forms: a single change (entry type 1) and a batch
// with a transition (entry type 2). The plain "leave the joint configuration" is no bytes at all, so that it is
// never refused for its size. Reading never throws: the bytes may come from a peer.
//
// single: type (1 byte), node id (8, big-endian), context
// batch:  transition (1), count (2), count times [type (1), node id (8)], context

import type { ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType } from "./conf-change.ts";
import { invariant } from "./assert.ts";

const TYPES: readonly ConfChangeType[] = ["addNode", "removeNode", "updateNode", "addLearnerNode"];
const TRANSITIONS: readonly ConfChangeTransition[] = ["auto", "implicit", "explicit"];
const SINGLE_BYTES = 9;
const BATCH_HEADER_BYTES = 3;
const CHANGES_MAX = 0xffff;

/** The entry type and data of a change. `single` asks for the one-change form, which has no transition. */
export function encodeConfChange(
  change: ConfChange,
  form: "single" | "batch",
): { readonly type: 1 | 2; readonly data: Uint8Array } {
  const context = change.context;
  if (form === "single") {
    const [only] = change.changes;
    invariant(only !== undefined && change.changes.length === 1, "the single form holds exactly one change");
    invariant(change.transition === "auto", "the single form has no transition");
    const data = new Uint8Array(SINGLE_BYTES + context.length);
    writeSingle(new DataView(data.buffer), 0, only);
    data.set(context, SINGLE_BYTES);
    return { type: 1, data };
  }
  if (change.changes.length === 0 && change.transition === "auto" && context.length === 0) {
    return { type: 2, data: new Uint8Array(0) };
  }
  invariant(change.changes.length <= CHANGES_MAX, "a membership change holds at most 65,535 changes");
  const bodyBytes = BATCH_HEADER_BYTES + change.changes.length * SINGLE_BYTES;
  const data = new Uint8Array(bodyBytes + context.length);
  const view = new DataView(data.buffer);
  view.setUint8(0, TRANSITIONS.indexOf(change.transition));
  view.setUint16(1, change.changes.length);
  change.changes.forEach((single, i) => writeSingle(view, BATCH_HEADER_BYTES + i * SINGLE_BYTES, single));
  data.set(context, bodyBytes);
  return { type: 2, data };
}

/** The change in an entry's data, or null where the bytes are none. */
export function decodeConfChange(type: 1 | 2, data: Uint8Array): ConfChange | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (type === 1) {
    if (data.length < SINGLE_BYTES) return null;
    const single = readSingle(view, 0);
    return single && { transition: "auto", changes: [single], context: data.slice(SINGLE_BYTES) };
  }
  if (data.length === 0) return { transition: "auto", changes: [], context: new Uint8Array(0) };
  if (data.length < BATCH_HEADER_BYTES) return null;
  const transition = TRANSITIONS[view.getUint8(0)];
  const bodyBytes = BATCH_HEADER_BYTES + view.getUint16(1) * SINGLE_BYTES;
  if (transition === undefined || data.length < bodyBytes) return null;
  const changes: ConfChangeSingle[] = [];
  for (let at = BATCH_HEADER_BYTES; at < bodyBytes; at += SINGLE_BYTES) {
    const single = readSingle(view, at);
    if (single === null) return null;
    changes.push(single);
  }
  return { transition, changes, context: data.slice(bodyBytes) };
}

function writeSingle(view: DataView, at: number, single: ConfChangeSingle): void {
  view.setUint8(at, TYPES.indexOf(single.type));
  view.setBigUint64(at + 1, BigInt(single.nodeId));
}

function readSingle(view: DataView, at: number): ConfChangeSingle | null {
  const type = TYPES[view.getUint8(at)];
  const nodeId = Number(view.getBigUint64(at + 1));
  return type === undefined || !Number.isSafeInteger(nodeId) ? null : { type, nodeId };
}
