// Committed changes as a stream that one reader pulls. The store never waits for a reader: one that falls behind by more than
// a bound is cut off and has to look again.

import { abortable } from "../../proto/base/abort.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { Notice } from "../../proto/base/notice.ts";
import type { StoreCommit } from "../store/store.ts";
import type { Store } from "../store/store.ts";

/** Changes that wait for the reader. */
const WAITING_MAX = 20_000;

/**
 * What is committed from this call on. Throws ResourceExhausted for a reader that falls behind. The subscription begins with the
 * call, before the first pull, and ends with the loop or the signal.
 */
export function committedChanges(store: Store, signal: AbortSignal): AsyncGenerator<StoreCommit, void, undefined> {
  const waiting: StoreCommit[] = [];
  const notice = new Notice();
  let count = 0;
  const unsubscribe = store.subscribe((commit) => {
    count += commit.changes.length;
    if (count > WAITING_MAX) unsubscribe();
    else waiting.push(commit);
    notice.raise();
  });
  if (signal.aborted) unsubscribe();
  else signal.addEventListener("abort", unsubscribe, { once: true });
  const read = async function* (): AsyncGenerator<StoreCommit, void, undefined> {
    try {
      for (;;) {
        for (let commit = waiting.shift(); commit !== undefined; commit = waiting.shift()) {
          count -= commit.changes.length;
          yield commit;
        }
        if (count > 0)
          throw new SwarmError("ResourceExhausted", "the reader of changes is too far behind; list and watch again");
        await abortable(notice.wait(signal), signal);
      }
    } finally {
      unsubscribe();
      signal.removeEventListener("abort", unsubscribe);
    }
  };
  return read();
}
