// Services, tasks and nodes in the JSON shape of Docker's Engine API. Pure.

import {
  type ManagerStatus,
  ManagerStatus_Reachability,
  type Meta,
  NodeStatus_State,
  UpdateStatus_State,
} from "../../proto/gen/objects.ts";
import { NodeRole, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import type { WholeNode, WholeService, WholeTask } from "../../proto/model/objects.ts";
import { taskStateName } from "../../proto/model/task-state.ts";
import { updateStateName } from "../../proto/model/update-plan.ts";
import { healthName } from "./health.ts";
import { jobStatusJson } from "./mode.ts";
import { type Json, compact, genericJson, isoTime, portJson, serviceSpecJson, taskSpecJson } from "./spec.ts";

const NODE_STATE: Readonly<Record<NodeStatus_State, string>> = {
  [NodeStatus_State.UNKNOWN]: "unknown",
  [NodeStatus_State.DOWN]: "down",
  [NodeStatus_State.READY]: "ready",
};

const AVAILABILITY: Readonly<Record<NodeSpec_Availability, string>> = {
  [NodeSpec_Availability.ACTIVE]: "active",
  [NodeSpec_Availability.PAUSE]: "pause",
  [NodeSpec_Availability.DRAIN]: "drain",
};

const REACHABILITY: Readonly<Record<ManagerStatus_Reachability, string>> = {
  [ManagerStatus_Reachability.UNKNOWN]: "unknown",
  [ManagerStatus_Reachability.UNREACHABLE]: "unreachable",
  [ManagerStatus_Reachability.REACHABLE]: "reachable",
};

export function nodeStateName(state: NodeStatus_State): string {
  return NODE_STATE[state];
}

export function availabilityName(availability: NodeSpec_Availability): string {
  return AVAILABILITY[availability];
}

export function roleName(role: NodeRole): string {
  return role === NodeRole.MANAGER ? "manager" : "worker";
}

/** "Leader", "Reachable", "Unreachable", or "" for a worker. */
export function managerStatusName(status: ManagerStatus | undefined): string {
  if (status === undefined) return "";
  if (status.leader) return "Leader";
  const name = REACHABILITY[status.reachability];
  return name.charAt(0).toUpperCase() + name.slice(1);
}

function metaFields(meta: Meta): Record<string, Json> {
  return {
    Version: { Index: meta.version },
    CreatedAt: isoTime(meta.createdAtMs),
    UpdatedAt: isoTime(meta.updatedAtMs),
  };
}

export function serviceJson(service: WholeService): Json {
  const { updateStatus } = service;
  return {
    ID: service.id,
    ...metaFields(service.meta),
    Spec: serviceSpecJson(service.spec),
    ...(service.previousSpec === undefined ? {} : { PreviousSpec: serviceSpecJson(service.previousSpec) }),
    ...(service.jobStatus === undefined ? {} : { JobStatus: jobStatusJson(service.jobStatus) }),
    Endpoint: { Spec: compact({ Ports: service.spec.endpoint.ports.map(portJson) }) },
    ...(updateStatus === undefined || updateStatus.state === UpdateStatus_State.UNKNOWN
      ? {}
      : {
          UpdateStatus: compact({
            State: updateStateName(updateStatus.state),
            StartedAt: isoTime(updateStatus.startedAtMs),
            CompletedAt: isoTime(updateStatus.completedAtMs),
            Message: updateStatus.message,
          }),
        }),
  };
}

export function taskJson(task: WholeTask): Json {
  const { container } = task.status;
  return {
    ID: task.id,
    ...metaFields(task.meta),
    Spec: taskSpecJson(task.spec),
    ServiceID: task.serviceId,
    Slot: task.slot,
    NodeID: task.nodeId,
    Status: compact({
      Timestamp: isoTime(task.status.atMs),
      State: taskStateName(task.status.state),
      Message: task.status.message,
      Err: task.status.error,
      ContainerStatus:
        container === undefined
          ? undefined
          : compact({
              ContainerID: container.containerId,
              PID: container.pid,
              ExitCode: container.exitCode,
              OOMKilled: container.oomKilled,
              Health: healthName(container.health),
              Addresses: container.addresses,
            }),
      PortStatus: compact({ Ports: task.status.ports.map(portJson) }),
    }),
    DesiredState: taskStateName(task.desiredState),
    ...(task.jobIteration === 0 ? {} : { JobIteration: { Index: task.jobIteration } }),
    ...(task.generic.length === 0 ? {} : { GenericResources: genericJson(task.generic) }),
  };
}

export function nodeJson(node: WholeNode): Json {
  const { description, status, managerStatus } = node;
  return {
    ID: node.id,
    ...metaFields(node.meta),
    Spec: compact({
      Name: node.spec.name,
      Labels: node.spec.labels,
      Role: roleName(node.spec.role),
      Availability: availabilityName(node.spec.availability),
    }),
    Description: {
      Hostname: description.hostname,
      Platform: { Architecture: description.platform?.architecture ?? "", OS: description.platform?.os ?? "" },
      Resources: {
        NanoCPUs: description.resources?.nanoCpus ?? 0,
        MemoryBytes: description.resources?.memoryBytes ?? 0,
        ...(description.resources === undefined || description.resources.generic.length === 0
          ? {}
          : { GenericResources: genericJson(description.resources.generic) }),
      },
      Engine: compact({ EngineVersion: description.engineVersion, Labels: description.engineLabels }),
    },
    Status: compact({ State: nodeStateName(status.state), Message: status.message, Addr: status.addr }),
    ...(managerStatus === undefined
      ? {}
      : {
          ManagerStatus: compact({
            Leader: managerStatus.leader,
            Reachability: REACHABILITY[managerStatus.reachability],
            Addr: managerStatus.addr,
          }),
        }),
  };
}
