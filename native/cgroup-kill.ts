// Killing all of a cgroup's processes where the kernel has no single word for it, and waiting for one to stand still.

import { kill } from "node:process";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { errnoOf } from "./cgroup-files.ts";
import type { Cgroup } from "./cgroup-types.ts";

/** How often new processes are looked for. Each round kills what the last one missed; a process that forks faster is frozen by its caller. */
const ROUNDS_MAX = 64;
const FREEZE_WAIT_MS = 5_000;
const FREEZE_STEP_MAX_MS = 20;

/**
 * Sends SIGKILL to what `list` names, until it names nobody new. `between` runs after each round (a v1 group must be thawed
 * for its killed processes to end). Never signals this process, nor the id 0 that stands for a process of another namespace.
 */
export function killListed({
  list,
  between,
}: {
  readonly list: () => readonly number[];
  readonly between: () => void;
}): void {
  const done = new Set<number>([0, process.pid]);
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const fresh = list().filter((pid) => !done.has(pid));
    for (const pid of fresh) {
      done.add(pid);
      killOne(pid);
    }
    between();
    if (fresh.length === 0) return;
  }
}

function killOne(pid: number): void {
  try {
    kill(pid, "SIGKILL");
  } catch (error) {
    // It ended by itself in between.
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

/** Settles when `isFrozen` says so, asking again and again within a bound; on failure thaws and throws. */
export async function waitFrozen(options: {
  readonly path: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly isFrozen: () => boolean;
  readonly thaw: () => void;
}): Promise<void> {
  const endMs = options.clock.monotonicMs() + FREEZE_WAIT_MS;
  try {
    for (let stepMs = 1; !options.isFrozen(); stepMs = Math.min(stepMs * 2, FREEZE_STEP_MAX_MS)) {
      if (options.clock.monotonicMs() >= endMs)
        throw new SwarmError(
          "DeadlineExceeded",
          `the processes of cgroup ${options.path} could not be frozen within ${FREEZE_WAIT_MS / 1000} seconds`,
        );
      await options.clock.sleep(stepMs, options.signal);
    }
  } catch (error) {
    options.thaw();
    throw error;
  }
}

/** Throws when this very process is inside: killing it would be the end of the one who asks. */
export function refuseOwn(cgroup: Cgroup): void {
  if (cgroup.procs().includes(process.pid))
    throw new SwarmError(
      "FailedPrecondition",
      `cgroup ${cgroup.path} holds this process itself; choose a cgroup parent of its own for containers`,
    );
}
