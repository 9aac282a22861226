// A service's spec in the JSON shape of Docker's Engine API, which `inspect` prints and scripts read. Pure; absent and zero
// fields are left out as Docker does.

import {
  type ContainerSpec,
  type GenericResource,
  type Mount,
  Mount_Type,
  type Placement,
  Placement_Strategy,
  type PortConfig,
  PortConfig_Protocol,
  PortConfig_PublishMode,
  type Resources,
  type RestartPolicy,
  RestartPolicy_Condition,
  type UpdateConfig,
} from "../../proto/gen/specs.ts";
import { healthcheckJson } from "./health.ts";
import { modeJson } from "./mode.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { WholeServiceSpec, WholeTaskSpec } from "../../proto/model/objects.ts";
import { isJob } from "../../proto/model/service-mode.ts";
import { failureActionName, orderWord, planOf } from "../../proto/model/update-plan.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type Fields = Readonly<Record<string, Json | undefined>>;

const NS_PER_MS = 1_000_000;

const CONDITION: Readonly<Record<RestartPolicy_Condition, string>> = {
  [RestartPolicy_Condition.ANY]: "any",
  [RestartPolicy_Condition.ON_FAILURE]: "on-failure",
  [RestartPolicy_Condition.NONE]: "none",
};

/** An object without the fields that are empty. */
export function compact(fields: Fields): Json {
  const kept = Object.entries(fields).filter(([, value]) => {
    if (value === undefined || value === "" || value === 0 || value === false) return false;
    if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
    return true;
  });
  return Object.fromEntries(kept) as Json;
}

/** RFC 3339, as Docker prints times; empty for 0. */
export function isoTime(ms: number): string {
  return ms === 0 ? "" : new Date(ms).toISOString();
}

export function protocolName(protocol: PortConfig_Protocol): string {
  return protocol === PortConfig_Protocol.UDP ? "udp" : "tcp";
}

export function portJson(port: PortConfig): Json {
  return compact({
    Name: port.name,
    Protocol: protocolName(port.protocol),
    TargetPort: port.targetPort,
    PublishedPort: port.publishedPort,
    PublishMode: port.publishMode === PortConfig_PublishMode.HOST ? "host" : "ingress",
  });
}

export function serviceSpecJson(spec: WholeServiceSpec): Json {
  return {
    Name: spec.name,
    Labels: spec.labels,
    TaskTemplate: taskSpecJson(spec.task),
    Mode: modeJson(spec),
    ...(isJob(spec)
      ? {}
      : { UpdateConfig: updateConfigJson(spec.update), RollbackConfig: updateConfigJson(spec.rollback) }),
    EndpointSpec: compact({ Ports: spec.endpoint.ports.map(portJson) }),
  };
}

export function taskSpecJson(spec: WholeTaskSpec): Json {
  return {
    ContainerSpec: containerJson(spec.container),
    Resources: {
      Limits: resourcesJson(spec.limits),
      Reservations: resourcesJson(spec.reservations),
      ...(spec.limits.memorySwapBytes === undefined ? {} : { SwapBytes: spec.limits.memorySwapBytes }),
      ...(spec.limits.memorySwappiness === undefined ? {} : { MemorySwappiness: spec.limits.memorySwappiness }),
    },
    RestartPolicy: restartJson(spec.restart),
    Placement: placementJson(spec.placement),
    ForceUpdate: spec.forceUpdate,
  };
}

/** With a deadline that docker does not have; 0 is none. */
function updateConfigJson(config: UpdateConfig): Json {
  const plan = planOf(config);
  const { progressDeadlineMs: deadlineMs } = plan;
  return {
    Parallelism: plan.parallelism === Infinity ? 0 : plan.parallelism,
    Delay: plan.delayMs * NS_PER_MS,
    FailureAction: failureActionName(plan.failureAction),
    Monitor: plan.monitorMs * NS_PER_MS,
    MaxFailureRatio: plan.maxFailureRatio,
    Order: orderWord(plan),
    ProgressDeadline: deadlineMs === Infinity ? 0 : deadlineMs * NS_PER_MS,
  };
}

function resourcesJson(resources: Resources): Json {
  return compact({
    NanoCPUs: resources.nanoCpus,
    MemoryBytes: resources.memoryBytes,
    Pids: resources.pids,
    GenericResources: genericJson(resources.generic),
  });
}

/** A number of something, or single ones by name, as nodes declare and tasks hold them. */
export function genericJson(generic: readonly GenericResource[]): readonly Json[] {
  return generic.flatMap(({ kind, count, names }): readonly Json[] =>
    names.length > 0
      ? names.map((name) => ({ NamedResourceSpec: { Kind: kind, Value: name } }))
      : [{ DiscreteResourceSpec: { Kind: kind, Value: count } }],
  );
}

/** Strategy and Affinities are fields that Docker does not have. */
function placementJson(placement: Placement): Json {
  return compact({
    Constraints: placement.constraints,
    Preferences: placement.preferences.map(({ spread }) => ({ Spread: { SpreadDescriptor: spread } })),
    MaxReplicas: placement.maxReplicasPerNode,
    Platforms: placement.platforms.map(({ architecture, os }) => compact({ Architecture: architecture, OS: os })),
    Strategy: placement.strategy === Placement_Strategy.BINPACK ? "binpack" : undefined,
    Affinities: placement.affinities,
  });
}

function restartJson(policy: RestartPolicy): Json {
  return {
    Condition: CONDITION[policy.condition],
    Delay: (policy.delayMs ?? DEFAULTS.restartDelayMs) * NS_PER_MS,
    MaxAttempts: policy.maxAttempts,
    ...(policy.windowMs > 0 ? { Window: policy.windowMs * NS_PER_MS } : {}),
  };
}

function containerJson(container: ContainerSpec): Json {
  return compact({
    Image: container.image,
    Labels: container.labels,
    Command: container.command,
    Args: container.args,
    Hostname: container.hostname,
    Env: container.env,
    Dir: container.dir,
    User: container.user,
    Groups: container.groups,
    TTY: container.tty,
    Init: container.init,
    OomScoreAdj: container.oomScoreAdj,
    ReadOnly: container.readOnly,
    Mounts: container.mounts.map(mountJson),
    StopSignal: container.stopSignal,
    StopGracePeriod: (container.stopGraceMs ?? DEFAULTS.stopGraceMs) * NS_PER_MS,
    Healthcheck: healthcheckJson(container.healthcheck),
    Hosts: container.hosts,
    DNSConfig: compact({
      Nameservers: container.dnsServers,
      Search: container.dnsSearch,
      Options: container.dnsOptions,
    }),
    CapabilityAdd: container.capabilityAdd,
    CapabilityDrop: container.capabilityDrop,
    Ulimits: container.ulimits.map((limit) => ({ Name: limit.name, Hard: limit.hard, Soft: limit.soft })),
    Sysctls: container.sysctls,
    Privileges: container.noNewPrivileges ? { NoNewPrivileges: true } : undefined,
  });
}

function mountJson(mount: Mount): Json {
  const tmpfs = mount.type === Mount_Type.TMPFS;
  return compact({
    Type: tmpfs ? "tmpfs" : "bind",
    Source: mount.source,
    Target: mount.target,
    ReadOnly: mount.readOnly,
    BindOptions: tmpfs
      ? undefined
      : compact({
          Propagation: mount.bindPropagation,
          NonRecursive: mount.bindNonRecursive,
          CreateMountpoint: mount.bindCreateSrc,
        }),
    TmpfsOptions: tmpfs ? compact({ SizeBytes: mount.tmpfsSizeBytes, Mode: mount.tmpfsMode }) : undefined,
  });
}
