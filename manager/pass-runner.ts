// One run of the passes: in order, in one transaction, each seeing what those before it did, a failing one costing only its own
// changes. Pure, as the passes are; leader.ts decides when.

import type { UnixMs } from "../proto/base/clock.ts";
import { errorText } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import { DEFAULTS } from "../proto/model/defaults.ts";
import { type Pass, earlier } from "./pass.ts";
import type { StoreEvent } from "./store/events.ts";
import type { Kind, Objects } from "./store/tables.ts";
import type { ReadTx, WriteTx } from "./store/tx.ts";

/** Objects of one run: half a transaction, which keeps a run at about five milliseconds. */
const CHANGES_MAX = DEFAULTS.transactionChangesMax / 2;
/** A pass that failed is shown everything again after this. */
const FAILED_RETRY_MS = 5_000;

export interface PassRunnerOptions {
  readonly passes: readonly Pass[];
  readonly logger: Logger;
  /** Exceptions of passes come out. */
  readonly strict: boolean;
}

export interface RunResult {
  readonly changed: boolean;
  /** When to run again though nothing happens; null: never. */
  readonly next: UnixMs | null;
}

export class PassRunner {
  readonly #options: PassRunnerOptions;
  /** When a failed pass is tried again, by its name. */
  readonly #retries = new Map<string, UnixMs>();
  #failures = 0;

  constructor(options: PassRunnerOptions) {
    this.#options = options;
  }

  /** Times that a pass threw. */
  get failures(): number {
    return this.#failures;
  }

  observe(events: readonly StoreEvent[]): void {
    for (const pass of this.#options.passes) observeAll(pass, events);
  }

  run(tx: WriteTx, now: UnixMs): RunResult {
    const { passes } = this.#options;
    const times = passes.map((pass, position) => {
      const mark = tx.mark();
      const next = this.#runPass(pass, { tx, now });
      const events = tx.eventsSince(mark);
      for (const later of passes.slice(position + 1)) observeAll(later, events);
      return next;
    });
    return { changed: tx.eventsSince(0).length > 0, next: earlier(times) };
  }

  #runPass(pass: Pass, run: { readonly tx: WriteTx; readonly now: UnixMs }): UnixMs | null {
    const { logger, strict } = this.#options;
    const { tx, now } = run;
    const retryAt = this.#retries.get(pass.name);
    if (retryAt !== undefined && retryAt <= now) {
      this.#retries.delete(pass.name);
      observeAll(pass, everything(tx));
    }
    try {
      const next = tx.nested(() => pass.run(tx, now, pass.carriesOn === true ? CHANGES_MAX : CHANGES_MAX / 2));
      return earlier([next, this.#retries.get(pass.name) ?? null]);
    } catch (error) {
      if (strict) throw error;
      this.#failures += 1;
      this.#retries.set(pass.name, now + FAILED_RETRY_MS);
      logger.error(`pass ${pass.name} failed; what it did in this run is dropped`, {
        error: errorText(error),
        stack: error instanceof Error ? (error.stack ?? "") : "",
      });
      return now + FAILED_RETRY_MS;
    }
  }
}

function observeAll(pass: Pass, events: readonly StoreEvent[]): void {
  for (const event of events) pass.observe(event);
}

/** Every object there is, as if it had just come: what passes are shown when leadership begins. */
export function everything(view: ReadTx): readonly StoreEvent[] {
  const created = <K extends Kind>(kind: K, objects: readonly Objects[K][]): StoreEvent[] =>
    // The object is of the kind; the compiler cannot follow that through the union.
    objects.map((object) => ({ kind, action: "create", object, old: undefined }) as unknown as StoreEvent);
  return [
    ...created("cluster", view.clusters.all()),
    ...created("node", view.nodes.all()),
    ...created("service", view.services.all()),
    ...created("task", view.tasks.all()),
    ...created("revision", view.revisions.all()),
  ];
}
