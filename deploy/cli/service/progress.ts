// Waiting for a service to converge, with docker's progress bars on a terminal and a line per change elsewhere.

import { SwarmError } from "../../../proto/base/errors.ts";
import { StoreChange_Action, type WatchMessage } from "../../../proto/gen/control.ts";
import type { UpdateStatus } from "../../../proto/gen/objects.ts";
import { type WholeService, type WholeTask, wholeService, wholeTask } from "../../../proto/model/objects.ts";
import { currentPlan, isRollback } from "../../../proto/model/update-plan.ts";
import { type Context, print } from "../context.ts";
import { picture } from "./convergence.ts";
import type { Picture, Slot } from "./picture.ts";

/** Nothing changed for this long, and no update is under way: it will not get there by itself. */
const STALLED_MS = 60_000;
/** More replicas than this are shown by their number only. */
const BARS_MAX = 20;
const BAR_WIDTH = 50;

export interface ConvergeOptions {
  readonly serviceId: string;
  readonly quiet: boolean;
  /** When the last update before this change began; 0: there was none. */
  readonly updateBeforeMs?: number;
  /** The change is a rollback: that the service goes back is no failure. */
  readonly isRollback?: boolean;
}

/**
 * Settles when the service is up and has stayed so for the monitoring time of its update config, or waits behind its canary; a job
 * when it is complete. Throws FailedPrecondition, which says why, when it does not get there, and when the cluster rolled it back.
 */
export async function converge(context: Context, options: ConvergeOptions): Promise<void> {
  const screen = options.quiet ? undefined : new Screen(context);
  try {
    const failure = await watchUntilStable(context, options, screen);
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
  options: ConvergeOptions,
  screen: Screen | undefined,
): Promise<string | undefined> {
  const { serviceId } = options;
  const state = new Tracked({ ...options, sinceMs: context.now() });
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
      const leftMs = stableSince === undefined ? 0 : state.stableMs - (context.now() - stableSince);
      const patienceMs = STALLED_MS - (context.now() - changedAt);
      const waitMs = leftMs > 0 ? Math.min(1_000, leftMs) : patienceMs > 0 ? patienceMs : STALLED_MS;
      const arrived = await raceTimer(next, waitMs);
      if (arrived !== undefined) {
        if (arrived.done === true) return "the daemon ended the watch; use `tsswarm service ps` to check progress";
        state.take(arrived.value);
        changedAt = context.now();
        next = messages.next();
      }
      if (state.removed) return "service was removed while it was waited for";
      const view = state.view();
      if (view === undefined) continue;
      const { outcome } = view;
      const { rolledBack } = state;
      const notes = rolledBack === undefined ? [] : [`rollback: ${rolledBack}`];
      if (outcome.kind === "failed") {
        screen?.show(view, notes);
        return outcome.reason;
      }
      if (outcome.kind === "complete") {
        screen?.show(view, [outcome.message]);
        return undefined;
      }
      if (outcome.kind === "held") {
        screen?.show(view, [`canary: ${outcome.message}`]);
        return undefined;
      }
      if (outcome.kind === "waiting") {
        stableSince = undefined;
        screen?.show(view, notes);
        if (!view.isPatient && context.now() - changedAt >= STALLED_MS) return stalledReason(view);
        continue;
      }
      stableSince ??= context.now();
      const verifyMs = state.stableMs - (context.now() - stableSince);
      if (verifyMs <= 0 && outcome.isOver) {
        screen?.show(view, [...notes, `verify: Service ${serviceId} converged`]);
        return rolledBack === undefined ? undefined : `service rolled back: ${rolledBack}`;
      }
      const seconds = Math.ceil(verifyMs / 1000);
      const verify = verifyMs > 0 ? [`verify: Waiting ${seconds} seconds to verify that tasks are stable...`] : [];
      screen?.show(view, [...notes, ...verify]);
    }
  } finally {
    watching.abort(new SwarmError("Cancelled", "the wait is over"));
    void next.catch(() => undefined);
    screen?.end();
  }
}

function stalledReason(view: Picture): string {
  const stuck = view.slots.find((slot) => slot.done < 1);
  const where = stuck === undefined ? "" : `; ${stuck.label}: ${stuck.text}`;
  return `service did not converge: ${view.standing}, and nothing changed for ${STALLED_MS / 1000} s${where}; \`tsswarm why\` says more`;
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
  readonly #options: ConvergeOptions & { readonly sinceMs: number };
  readonly #tasks: Map<string, WholeTask> = new Map<string, WholeTask>();
  #service: WholeService | undefined;
  #rolledBack: string | undefined;

  constructor(options: ConvergeOptions & { readonly sinceMs: number }) {
    this.#options = options;
  }

  /** How long all tasks must stay up before the service counts as stable. */
  get stableMs(): number {
    return this.#service === undefined ? 0 : currentPlan(this.#service).monitorMs;
  }

  /** Why the cluster goes, or went, back to the spec before, since the waiting began. */
  get rolledBack(): string | undefined {
    return this.#rolledBack;
  }

  take(message: WatchMessage): void {
    for (const { action, object } of message.changes) {
      const gone = action === StoreChange_Action.REMOVE;
      if (object?.$case === "service") {
        this.#service = wholeService(object.value);
        this.removed ||= gone || this.#service.pendingDelete;
        this.#noteRollback(this.#service.updateStatus);
      } else if (object?.$case === "task") {
        if (gone) this.#tasks.delete(object.value.id);
        else this.#tasks.set(object.value.id, wholeTask(object.value));
      }
    }
  }

  view(): Picture | undefined {
    return this.#service === undefined
      ? undefined
      : picture(this.#service, [...this.#tasks.values()], this.#options.sinceMs);
  }

  #noteRollback(status: UpdateStatus | undefined): void {
    const { isRollback: isMeant = false, updateBeforeMs = 0 } = this.#options;
    if (status === undefined || isMeant || !isRollback(status) || status.startedAtMs === updateBeforeMs) return;
    this.#rolledBack = status.reason === "" ? status.message : status.reason;
  }
}

/** Redraws its lines in place on a terminal; elsewhere prints each line when it changed. */
class Screen {
  readonly #context: Context;
  #shown: readonly string[] = [];

  constructor(context: Context) {
    this.#context = context;
  }

  show(view: Picture, notes: readonly string[]): void {
    const bars = view.wanted > BARS_MAX ? [] : view.slots.map(barLine);
    const lines = [...view.summary, ...bars, ...notes];
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

function barLine(slot: Slot): string {
  const label = `${slot.label}: ${slot.text.padEnd(9)}`;
  if (slot.done === 0) return label.trimEnd();
  const filled = Math.round(slot.done * BAR_WIDTH);
  return `${label} [${"=".repeat(filled)}>${" ".repeat(BAR_WIDTH - filled)}]`;
}
