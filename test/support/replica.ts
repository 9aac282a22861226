// The smallest state a log can feed: the ids of the changes it was given (their `atMs`), in order.

import assert from "node:assert/strict";
import type { ReplayTarget } from "../../manager/store/proposer.ts";

export interface Replica extends ReplayTarget {
  readonly ids: readonly number[];
  commit(id: number, index: number): void;
  /** In several pieces, fixed at the call and made when asked for. */
  snapshot(): Iterable<Uint8Array>;
}

export function makeReplica(): Replica {
  const ids: number[] = [];
  const commit = (id: number, index: number): void => {
    ids.push(id);
    assert.equal(index, ids.length, "indexes follow each other from 1");
  };
  return {
    ids,
    commit,
    restore: (snapshot, index) => {
      assert.equal(ids.length, 0, "a snapshot is restored once, before anything else");
      ids.push(...(JSON.parse(new TextDecoder().decode(snapshot)) as number[]));
      assert.equal(ids.length, index);
    },
    apply: (changes, index) => commit(changes.atMs, index),
    snapshot: () => {
      const text = new TextEncoder().encode(JSON.stringify(ids));
      return {
        *[Symbol.iterator]() {
          for (let at = 0; at < text.length; at += 7) yield text.subarray(at, at + 7);
        },
      };
    },
  };
}
