// `tsswarm service inspect --pretty`.

import { humanDuration, printBytes, printCpus, printDuration } from "../../../proto/base/units.ts";
import { UpdateStatus_State } from "../../../proto/gen/objects.ts";
import {
  type HealthConfig,
  type Resources,
  Placement_Strategy,
  PortConfig_PublishMode,
} from "../../../proto/gen/specs.ts";
import { DEFAULTS } from "../../../proto/model/defaults.ts";
import { printResource } from "../../../proto/model/generic-resource.ts";
import type { WholeService } from "../../../proto/model/objects.ts";
import { isJob, restartPolicyOf } from "../../../proto/model/service-mode.ts";
import {
  type UpdatePlan,
  failureActionName,
  orderWord,
  planOf,
  updateStateName,
} from "../../../proto/model/update-plan.ts";
import { protocolName } from "../../docker/spec.ts";
import { type Section, pretty } from "../format/pretty.ts";
import { printPlatform } from "./flags-placement.ts";
import { modeSections } from "./pretty-mode.ts";

const CONDITIONS = ["any", "on-failure", "none"] as const;

export function prettyService(service: WholeService, nowMs: number): string {
  const { spec, updateStatus } = service;
  const { container, placement, limits, reservations } = spec.task;
  const restart = restartPolicyOf(spec);
  const pairs = (labels: Readonly<Record<string, string>>): readonly string[] =>
    Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const sections: readonly Section[] = [
    ["ID", service.id],
    ["Name", spec.name],
    ["Labels", pairs(spec.labels)],
    ...modeSections(service, nowMs),
    ...(updateStatus === undefined || updateStatus.state === UpdateStatus_State.UNKNOWN
      ? []
      : ([
          [
            "UpdateStatus",
            [
              ["State", updateStateName(updateStatus.state)],
              ["Started", `${humanDuration(nowMs - updateStatus.startedAtMs)} ago`],
              [
                "Completed",
                updateStatus.completedAtMs === 0 ? "" : `${humanDuration(nowMs - updateStatus.completedAtMs)} ago`,
              ],
              ["Message", updateStatus.message],
              ["Reason", updateStatus.reason === updateStatus.message ? "" : updateStatus.reason],
            ],
          ],
        ] as const)),
    [
      "Placement",
      [
        ["Constraints", placement.constraints],
        ["Preferences", placement.preferences.map(({ spread }) => `spread=${spread}`)],
        ["Platforms", placement.platforms.map(printPlatform)],
        ["Affinities", placement.affinities],
        ["Strategy", placement.strategy === Placement_Strategy.BINPACK ? "binpack" : ""],
        ["Max Replicas Per Node", placement.maxReplicasPerNode === 0 ? "" : String(placement.maxReplicasPerNode)],
      ],
    ],
    [
      "RestartPolicy",
      [
        ["Condition", CONDITIONS[restart.condition]],
        ["Delay", printDuration(restart.delayMs ?? DEFAULTS.restartDelayMs)],
        ["Max attempts", restart.maxAttempts === 0 ? "" : String(restart.maxAttempts)],
        ["Window", restart.windowMs === 0 ? "" : printDuration(restart.windowMs)],
      ],
    ],
    ["UpdateConfig", isJob(spec) ? "" : updateSections(planOf(spec.update), "Update order")],
    ["RollbackConfig", isJob(spec) ? "" : updateSections(planOf(spec.rollback), "Rollback order")],
    [
      "ContainerSpec",
      [
        ["Image", container.image],
        ["Command", container.command.join(" ")],
        ["Args", container.args.join(" ")],
        ["Env", container.env],
        ["Dir", container.dir],
        ["User", container.user],
        ["Hostname", container.hostname],
        ["Stop signal", container.stopSignal],
        ["Stop grace period", container.stopGraceMs === undefined ? "" : printDuration(container.stopGraceMs)],
        ["Init", container.init ? "true" : ""],
        ["OOM score adj", container.oomScoreAdj === undefined ? "" : String(container.oomScoreAdj)],
        ["Healthcheck", healthSections(container.healthcheck)],
        ["Labels", pairs(container.labels)],
        [
          "Mounts",
          container.mounts.map(
            (mount) =>
              `${mount.source === "" ? "tmpfs" : mount.source} -> ${mount.target}${mount.readOnly ? " (ro)" : ""}`,
          ),
        ],
      ],
    ],
    [
      "Resources",
      [
        ["Reservations", resources(reservations)],
        ["Limits", resources(limits)],
      ],
    ],
    [
      "Ports",
      spec.endpoint.ports.map(
        (port) =>
          `PublishedPort = ${port.publishedPort}, Protocol = ${protocolName(port.protocol)}, TargetPort = ${port.targetPort}, PublishMode = ${port.publishMode === PortConfig_PublishMode.HOST ? "host" : "ingress"}`,
      ),
    ],
  ];
  return pretty(sections);
}

/** Docker's words, and the deadline that docker does not have. */
function updateSections(plan: UpdatePlan, orderName: string): readonly Section[] {
  return [
    ["Parallelism", plan.parallelism === Infinity ? "0" : String(plan.parallelism)],
    ["Delay", plan.delayMs === 0 ? "" : printDuration(plan.delayMs)],
    ["On failure", failureActionName(plan.failureAction)],
    ["Monitoring Period", printDuration(plan.monitorMs)],
    ["Max failure ratio", String(plan.maxFailureRatio)],
    [orderName, orderWord(plan)],
    ["Progress deadline", plan.progressDeadlineMs === Infinity ? "none" : printDuration(plan.progressDeadlineMs)],
  ];
}

/** What is not said is the image's. */
function healthSections(config: HealthConfig | undefined): readonly Section[] {
  if (config === undefined) return [];
  const time = (ms: number | undefined): string => (ms === undefined ? "" : printDuration(ms));
  return [
    ["Test", config.test.join(" ")],
    ["Interval", time(config.intervalMs)],
    ["Timeout", time(config.timeoutMs)],
    ["Retries", config.retries === undefined ? "" : String(config.retries)],
    ["Start period", time(config.startPeriodMs)],
    ["Start interval", time(config.startIntervalMs)],
  ];
}

function resources(limits: Resources): readonly Section[] {
  return [
    ["CPU", limits.nanoCpus === 0 ? "" : printCpus(limits.nanoCpus)],
    ["Memory", limits.memoryBytes === 0 ? "" : printBytes(limits.memoryBytes)],
    ["Memory and swap", swapText(limits.memorySwapBytes)],
    ["Swappiness", limits.memorySwappiness === undefined ? "" : String(limits.memorySwappiness)],
    ["Pids", limits.pids === 0 ? "" : String(limits.pids)],
    ["Generic Resources", limits.generic.map(printResource)],
  ];
}

function swapText(bytes: number | undefined): string {
  if (bytes === undefined) return "";
  return bytes < 0 ? "unlimited" : printBytes(bytes);
}
