// Waiting for a service to converge, with docker's progress bars on a terminal and a line per change elsewhere.

import { SwarmError } from "../../../proto/base/errors.ts";
import { StoreChange_Action, type WatchMessage } from "../../../proto/gen/control.ts";
import { type WholeService, type WholeTask, wholeService, wholeTask } from "../../../proto/model/objects.ts";
import { type Context, print } from "../context.ts";
import { type Picture, type Slot, picture } from "./convergence.ts";

/** How long all tasks must stay up before the service counts as stable (docker's monitor default). */
const STABLE_MS = 5_000;
/** Nothing changed for this long: it will not get there by itself. */
const STALLED_MS = 60_000;
/** More replicas than this are shown by their number only. */
const BARS_MAX = 20;
const BAR_WIDTH = 50;

/** Settles when the service is up and stable. Sets exit status 1 and says why when it does not get there. */
export async function converge(
  context: Context,
  options: { readonly serviceId: string; readonly quiet: boolean },
): Promise<void> {
  const screen = options.quiet ? undefined : new Screen(context);
  try {
    const failure = await watchUntilStable(context, options.serviceId, screen);
    if (failure === undefined) return;
    throw new SwarmError("FailedPrecondition", failure);
  } catch (error) {
    if (!context.signal.aborted) throw error;
    print(
      context,
      `Operation continuing in background.\nUse \`tsswarm service ps ${options.serviceId}\` to check progress.`,
    );
  }
}

/** Undefined when it converged, else the reason why not. */
async function watchUntilStable(
  context: Context,
  serviceId: string,
  screen: Screen | undefined,
): Promise<string | undefined> {
  const state = new Tracked(context.now());
  const control = await context.control();
  const watching = new AbortController();
  const signal = AbortSignal.any([context.signal, watching.signal]);
  const changes = control.watch({ kinds: ["service", "task"], serviceId, includePresent: true }, { signal });
  const messages = changes[Symbol.asyncIterator]();
  let next = messages.next();
  let changedAt = context.now();
  let stableSince: number | undefined;
  try {
    for (;;) {
      const waitMs =
        stableSince === undefined
          ? STALLED_MS - (context.now() - changedAt)
          : Math.min(1_000, STABLE_MS - (context.now() - stableSince));
      const arrived = await raceTimer(next, Math.max(0, waitMs));
      if (arrived !== undefined) {
        if (arrived.done === true) return "the daemon ended the watch; use `tsswarm service ps` to check progress";
        state.take(arrived.value);
        changedAt = context.now();
        next = messages.next();
      }
      if (state.removed) return "service was removed while it was waited for";
      const view = state.view();
      if (view === undefined) continue;
      if (view.outcome.kind === "failed") return view.outcome.reason;
      if (view.outcome.kind === "waiting") {
        stableSince = undefined;
        screen?.show(view, undefined);
        if (context.now() - changedAt >= STALLED_MS) return stalledReason(view);
        continue;
      }
      stableSince ??= context.now();
      const leftMs = STABLE_MS - (context.now() - stableSince);
      screen?.show(
        view,
        leftMs <= 0
          ? `Service ${serviceId} converged`
          : `Waiting ${Math.ceil(leftMs / 1000)} seconds to verify that tasks are stable...`,
      );
      if (leftMs <= 0) return undefined;
    }
  } finally {
    watching.abort(new SwarmError("Cancelled", "the wait is over"));
    void next.catch(() => undefined);
    screen?.end();
  }
}

function stalledReason(view: Picture): string {
  const stuck = view.slots.find((slot) => slot.done < 1);
  const where = stuck === undefined ? "" : `; task ${stuck.slot}: ${stuck.text}`;
  return `service did not converge: ${view.running} out of ${view.wanted} tasks run and nothing changed for ${STALLED_MS / 1000} s${where}`;
}

async function raceTimer<T>(value: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  try {
    return await Promise.race([value, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The service and its tasks, from the changes that arrive. */
class Tracked {
  removed = false;
  readonly #sinceMs: number;
  readonly #tasks: Map<string, WholeTask> = new Map<string, WholeTask>();
  #service: WholeService | undefined;

  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs;
  }

  take(message: WatchMessage): void {
    for (const { action, object } of message.changes) {
      const gone = action === StoreChange_Action.REMOVE;
      if (object?.$case === "service") {
        this.#service = wholeService(object.value);
        this.removed ||= gone || this.#service.pendingDelete;
      } else if (object?.$case === "task") {
        if (gone) this.#tasks.delete(object.value.id);
        else this.#tasks.set(object.value.id, wholeTask(object.value));
      }
    }
  }

  view(): Picture | undefined {
    return this.#service === undefined ? undefined : picture(this.#service, [...this.#tasks.values()], this.#sinceMs);
  }
}

/** Redraws its lines in place on a terminal; elsewhere prints each line when it changed. */
class Screen {
  readonly #context: Context;
  #shown: readonly string[] = [];

  constructor(context: Context) {
    this.#context = context;
  }

  show(view: Picture, verify: string | undefined): void {
    const bars =
      view.wanted > BARS_MAX
        ? []
        : view.slots.map((slot, index) => barLine(slot, { index: index + 1, of: view.wanted }));
    const lines = [
      `overall progress: ${view.running} out of ${view.wanted} tasks`,
      ...bars,
      ...(verify === undefined ? [] : [`verify: ${verify}`]),
    ];
    const { stdout } = this.#context;
    if (stdout.isTTY === true) {
      const width = stdout.columns ?? 80;
      const up = this.#shown.length > 0 ? `\x1b[${this.#shown.length}A` : "";
      stdout.write(`${up}\x1b[J${lines.map((line) => `${line.slice(0, width - 1)}\n`).join("")}`);
    } else {
      for (const line of lines) if (!this.#shown.includes(line)) stdout.write(`${line}\n`);
    }
    this.#shown = lines;
  }

  end(): void {
    this.#shown = [];
  }
}

function barLine(slot: Slot, place: { readonly index: number; readonly of: number }): string {
  const label = `${place.index}/${place.of}: ${slot.text.padEnd(9)}`;
  if (slot.done === 0) return label.trimEnd();
  const filled = Math.round(slot.done * BAR_WIDTH);
  return `${label} [${"=".repeat(filled)}>${" ".repeat(BAR_WIDTH - filled)}]`;
}
