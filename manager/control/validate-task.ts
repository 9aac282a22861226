// Whether a task template may be what it asks: resources, restart policy and placement; its container is checked apart.

import { type Resources, type RestartPolicy, RestartPolicy_Condition } from "../../proto/gen/specs.ts";
import type { WholeTaskSpec } from "../../proto/model/objects.ts";
import { type Field, checkEnum, checkNumber, invalid, refused } from "./validate.ts";
import { checkContainer } from "./validate-container.ts";
import { checkGeneric, checkPlacement } from "./validate-placement.ts";

const MEMORY_BYTES_MIN = 4 * 1_048_576;
const MEMORY_BYTES_MAX = 2 ** 50;
const NANO_CPUS_MIN = 1_000_000;
const NANO_CPUS_MAX = 4_096 * 1_000_000_000;
const PIDS_MAX = 4_194_304;
const DURATION_MS_MAX = 365 * 86_400_000;
const COUNT_MAX = 4_294_967_295;

export function checkTask({ path, value: task }: Field<WholeTaskSpec>): void {
  checkContainer({ path: `${path}.container`, value: task.container });
  checkResources({ path: `${path}.limits`, value: task.limits });
  checkResources({ path: `${path}.reservations`, value: task.reservations });
  checkGeneric({ path: `${path}.reservations.generic`, value: task.reservations.generic });
  checkReserved(task);
  checkSwap(task);
  checkRestart({ path: `${path}.restart`, value: task.restart });
  checkPlacement({ path: `${path}.placement`, value: task.placement });
}

function checkResources({ path, value }: Field<Resources>): void {
  const cpus = { path: `${path}.nano_cpus`, value: value.nanoCpus };
  if (value.nanoCpus !== 0 && (value.nanoCpus < NANO_CPUS_MIN || value.nanoCpus > NANO_CPUS_MAX))
    throw invalid(cpus, "a share of cpus must be at least 0.001 and at most 4096, in billionths of a cpu");
  const memory = { path: `${path}.memory_bytes`, value: value.memoryBytes };
  if (value.memoryBytes !== 0 && (value.memoryBytes < MEMORY_BYTES_MIN || value.memoryBytes > MEMORY_BYTES_MAX))
    throw invalid(memory, "memory must be at least 4MiB (4194304 bytes) and at most 1PiB");
  checkNumber({ path: `${path}.pids`, value: value.pids }, { min: 0, max: PIDS_MAX });
}

/** Memory and swap together can only be more than the memory. */
function checkSwap({ limits, reservations }: WholeTaskSpec): void {
  if (reservations.memorySwapBytes !== undefined || reservations.memorySwappiness !== undefined)
    throw refused("task.reservations.memory_swap_bytes", "swap cannot be reserved: set task.limits.memory_swap_bytes");
  const { memorySwapBytes: swap, memorySwappiness } = limits;
  checkNumber({ path: "task.limits.memory_swappiness", value: memorySwappiness ?? 0 }, { min: 0, max: 100 });
  if (swap === undefined) return;
  const field = { path: "task.limits.memory_swap_bytes", value: swap };
  checkNumber(field, { min: -1, max: MEMORY_BYTES_MAX });
  if (limits.memoryBytes === 0) throw invalid(field, "it needs a memory limit beside it: set task.limits.memory_bytes");
  if (swap !== -1 && swap < limits.memoryBytes)
    throw invalid(field, `it is memory and swap together, so at least the memory limit (${limits.memoryBytes} bytes)`);
}

function checkReserved({ limits, reservations }: WholeTaskSpec): void {
  if (reservations.pids !== 0)
    throw refused("task.reservations.pids", "pids cannot be reserved: set task.limits.pids instead");
  if (limits.generic.length > 0)
    throw refused("task.limits.generic", "generic resources have no limit: set task.reservations.generic instead");
  if (limits.memoryBytes !== 0 && reservations.memoryBytes > limits.memoryBytes)
    throw refused(
      "task.reservations.memory_bytes",
      `the memory reservation (${reservations.memoryBytes} bytes) is above the limit (${limits.memoryBytes} bytes)`,
    );
  if (limits.nanoCpus !== 0 && reservations.nanoCpus > limits.nanoCpus)
    throw refused(
      "task.reservations.nano_cpus",
      `the cpu reservation (${reservations.nanoCpus / 1e9}) is above the limit (${limits.nanoCpus / 1e9})`,
    );
}

function checkRestart({ path, value: restart }: Field<RestartPolicy>): void {
  checkEnum({ path: `${path}.condition`, value: restart.condition }, RestartPolicy_Condition);
  checkNumber({ path: `${path}.delay_ms`, value: restart.delayMs ?? 0 }, { min: 0, max: DURATION_MS_MAX });
  checkNumber({ path: `${path}.max_attempts`, value: restart.maxAttempts }, { min: 0, max: COUNT_MAX });
  checkNumber({ path: `${path}.window_ms`, value: restart.windowMs }, { min: 0, max: DURATION_MS_MAX });
}
