// Small tools over AbortSignal. Each removes its listeners when done: parents live as long as the daemon.

import type { Clock } from "./clock.ts";
import { SwarmError } from "./errors.ts";

export interface ChildAbort {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  /** Lets go of the parent. Call it when what used the signal has settled. */
  release(): void;
}

/** A signal that aborts with its parent or by itself. */
export function childOf(parent: AbortSignal): ChildAbort {
  const controller = new AbortController();
  const forward = (): void => controller.abort(parent.reason);
  if (parent.aborted) forward();
  else parent.addEventListener("abort", forward, { once: true });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => parent.removeEventListener("abort", forward),
  };
}

/** Settles as `promise` does, or rejects with the signal's reason as soon as it aborts; `promise` is then left to itself. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) {
      promise.catch(() => undefined);
      fail();
      return;
    }
    signal.addEventListener("abort", fail, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", fail));
  });
}

/** Settles when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Runs `action` with a signal that aborts after `ms` with "DeadlineExceeded", or with `parent`. */
export async function withDeadline<T>(
  options: { readonly clock: Clock; readonly ms: number; readonly what: string; readonly parent?: AbortSignal },
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const child = childOf(options.parent ?? new AbortController().signal);
  const cancel = options.clock.after(options.ms, () =>
    child.abort(new SwarmError("DeadlineExceeded", `${options.what} took longer than ${options.ms / 1000} s`)),
  );
  try {
    return await action(child.signal);
  } finally {
    cancel();
    child.release();
  }
}
