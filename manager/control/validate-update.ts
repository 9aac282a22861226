// Whether an update, or the way back, may go as the spec says.

import { type UpdateConfig, UpdateConfig_FailureAction, UpdateConfig_Order } from "../../proto/gen/specs.ts";
import { type Field, checkEnum, checkNumber, invalid } from "./validate.ts";

const PARALLELISM_MAX = 4_294_967_295;
const DURATION_MS_MAX = 365 * 86_400_000;

/** Throws InvalidArgument for the first thing in it that cannot be. A rollback is not rolled back. */
export function checkUpdateConfig({ path, value }: Field<UpdateConfig>, part: "update" | "rollback"): void {
  const duration = (name: string, ms: number): void =>
    checkNumber({ path: `${path}.${name}`, value: ms }, { min: 0, max: DURATION_MS_MAX });
  checkNumber({ path: `${path}.parallelism`, value: value.parallelism ?? 0 }, { min: 0, max: PARALLELISM_MAX });
  duration("delay_ms", value.delayMs);
  duration("monitor_ms", value.monitorMs ?? 0);
  duration("progress_deadline_ms", value.progressDeadlineMs ?? 0);
  const action = { path: `${path}.failure_action`, value: value.failureAction };
  checkEnum(action, UpdateConfig_FailureAction);
  if (part === "rollback" && value.failureAction === UpdateConfig_FailureAction.ROLLBACK)
    throw invalid({ ...action, value: "rollback" }, "a rollback is never rolled back: it must be pause or continue");
  checkEnum({ path: `${path}.order`, value: value.order ?? UpdateConfig_Order.STOP_FIRST }, UpdateConfig_Order);
  const { maxFailureRatio } = value;
  if (!(maxFailureRatio >= 0 && maxFailureRatio <= 1))
    throw invalid({ path: `${path}.max_failure_ratio`, value: maxFailureRatio }, "it must be a number from 0 to 1");
}
