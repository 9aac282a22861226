// Whether a node's or the cluster's spec may be what it asks. Pure; what a change of role means is decided by its writer.

import { type ClusterSpec, type NodeSpec, NodeRole, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import { checkEnum, checkNumber } from "./validate.ts";
import { checkLabels, checkName } from "./validate-names.ts";

/** Throws InvalidArgument for the first thing in the spec that cannot be. */
export function validateNodeSpec(spec: NodeSpec): void {
  if (spec.name !== "") checkName({ path: "name", value: spec.name });
  checkLabels({ path: "labels", value: spec.labels });
  checkEnum({ path: "role", value: spec.role }, NodeRole);
  checkEnum({ path: "availability", value: spec.availability }, NodeSpec_Availability);
}

/** Throws InvalidArgument for the first thing in the spec that cannot be. An absent field has its default. */
export function validateClusterSpec(spec: ClusterSpec): void {
  if (spec.name !== "") checkName({ path: "name", value: spec.name });
  checkNumber(
    { path: "task_history_limit", value: spec.taskHistoryLimit ?? DEFAULTS.taskHistoryLimit },
    { min: 0, max: 1_000 },
  );
  checkNumber(
    { path: "heartbeat_period_ms", value: spec.heartbeatPeriodMs ?? DEFAULTS.heartbeatPeriodMs },
    { min: 100, max: 3_600_000 },
  );
  checkNumber(
    { path: "node_cert_expiry_ms", value: spec.nodeCertExpiryMs ?? DEFAULTS.nodeCertExpiryMs },
    { min: DEFAULTS.nodeCertExpiryMinMs, max: 10 * 365 * 86_400_000 },
  );
}
