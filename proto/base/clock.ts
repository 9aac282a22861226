// Time is handed in. Production uses `systemClock`; tests and the simulator use a clock they move themselves.

/** Milliseconds since 1970, UTC. */
export type UnixMs = number;

export interface Clock {
  /** Wall-clock time. May jump; use it for what people read and for what is stored. */
  now(): UnixMs;
  /** Milliseconds on a clock that never goes back; its zero means nothing. */
  monotonicMs(): number;
  /** Settles after `ms`, or rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `action` once after `ms`; the answer cancels it. */
  after(ms: number, action: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const fail = (): void => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", fail);
        resolve();
      }, ms);
      if (signal.aborted) fail();
      else signal.addEventListener("abort", fail, { once: true });
    }),
  after: (ms, action) => {
    const timer = setTimeout(action, ms);
    return () => {
      clearTimeout(timer);
    };
  },
};
