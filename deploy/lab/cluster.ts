// Makes one cluster of a lab's daemons, as a person would: init on the first, join on the others, the demo's image loaded on all.

import { createReadStream, existsSync, readFileSync } from "node:fs";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { type ImageUpload, LocalService } from "../../proto/gen/local.ts";
import { ManagerStatus_Reachability, type Node, NodeStatus_State } from "../../proto/gen/objects.ts";
import { ClusterSpec, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { type RpcChannel, unixChannel } from "../../proto/rpc/channel.ts";
import type { Client } from "../../proto/rpc/methods.ts";
import { type Lab, type LabNode, placesOf } from "./lab.ts";

const UP_WITHIN_MS = 30_000;
const POLL_MS = 25;
const JOIN_WITHIN_MS = 60_000;
const CHUNK_BYTES = 262_144;

/** Calls `body` with a client of the node's daemon. */
export async function withNode<T>(
  lab: Lab,
  node: LabNode,
  body: (local: Client<typeof LocalService>, channel: RpcChannel) => Promise<T>,
): Promise<T> {
  const channel = unixChannel(placesOf(lab.name, node.name).socket);
  try {
    return await body(createClient(LocalService, channel), channel);
  } finally {
    channel.close();
  }
}

/** Settles when the daemon answers. Throws DeadlineExceeded naming its log when it does not. */
export async function untilUp(lab: Lab, node: LabNode, signal: AbortSignal): Promise<void> {
  const deadline = systemClock.monotonicMs() + UP_WITHIN_MS;
  for (;;) {
    try {
      await withNode(lab, node, (local) => local.version({}, { signal, timeoutMs: 1_000 }));
      return;
    } catch (error) {
      if (!isSwarmError(error, "Unavailable", "DeadlineExceeded")) throw error;
      if (systemClock.monotonicMs() > deadline) {
        throw new SwarmError(
          "DeadlineExceeded",
          `the daemon of ${node.name} did not come up: ${errorText(error)}; its log ends: ${lastLine(placesOf(lab.name, node.name).log)}`,
          { cause: error },
        );
      }
    }
    await systemClock.sleep(POLL_MS, signal);
  }
}

function lastLine(path: string): string {
  return existsSync(path) ? (readFileSync(path, "utf8").trimEnd().split("\n").at(-1) ?? "") : "(there is none)";
}

export async function loadImage(lab: Lab, node: LabNode, file: string, signal: AbortSignal): Promise<void> {
  await withNode(lab, node, async (local) => {
    for await (const _ of local.loadImage(upload(file), { signal }));
  });
}

/** The first manager makes the cluster, the others join it; settles when every node is ready and every manager counts. */
export async function formCluster(lab: Lab, signal: AbortSignal): Promise<void> {
  const [first, ...others] = lab.nodes;
  if (first === undefined) return;
  const { heartbeatPeriodMs } = lab;
  const spec = heartbeatPeriodMs === undefined ? undefined : ClusterSpec.create({ name: "default", heartbeatPeriodMs });
  const { addr, joinTokenWorker } = await withNode(lab, first, (local) =>
    local.swarmInit(
      {
        listenAddr: "",
        advertiseAddr: first.address,
        availability: NodeSpec_Availability.ACTIVE,
        spec,
        forceNewCluster: false,
      },
      { signal },
    ),
  );
  const managers = others.filter((node) => node.role === "manager");
  // One after another: each counts before the next one comes, so that a quorum is never waited for that is not there yet.
  for (const [index, node] of managers.entries()) {
    await joinLab(lab, node, { addr, token: await managerToken(lab, first, signal), signal });
    await untilNodes(lab, first, { signal, what: "managers", wanted: index + 2, count: isReachableManager });
  }
  const workers = others.filter((node) => node.role === "worker");
  await Promise.all(workers.map((node) => joinLab(lab, node, { addr, token: joinTokenWorker, signal })));
  await untilNodes(lab, first, {
    signal,
    what: "ready nodes",
    wanted: lab.nodes.length,
    count: (node) => node.status?.state === NodeStatus_State.READY,
  });
}

async function joinLab(
  lab: Lab,
  node: LabNode,
  at: { readonly addr: string; readonly token: string; readonly signal: AbortSignal },
): Promise<void> {
  const { addr, signal, token } = at;
  const request = {
    remoteAddrs: [addr],
    token,
    listenAddr: "",
    advertiseAddr: node.address,
    availability: NodeSpec_Availability.ACTIVE,
  };
  await withNode(lab, node, (local) => local.swarmJoin(request, { signal, timeoutMs: JOIN_WITHIN_MS }));
}

async function managerToken(lab: Lab, manager: LabNode, signal: AbortSignal): Promise<string> {
  return withNode(lab, manager, async (_, channel) => {
    const cluster = await createClient(ControlService, channel).getCluster({}, { signal });
    return cluster.rootCa?.joinTokenManager ?? "";
  });
}

/** A manager that counts for the quorum and answers. */
function isReachableManager({ managerStatus }: Node): boolean {
  return (
    managerStatus !== undefined &&
    (managerStatus.leader || managerStatus.reachability === ManagerStatus_Reachability.REACHABLE)
  );
}

/** Settles when as many nodes as wanted are what is counted. Throws DeadlineExceeded. */
async function untilNodes(
  lab: Lab,
  manager: LabNode,
  until: {
    readonly what: string;
    readonly wanted: number;
    readonly count: (node: Node) => boolean;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { count, signal, wanted, what } = until;
  await withNode(lab, manager, async (_, channel) => {
    const control = createClient(ControlService, channel);
    const deadline = systemClock.monotonicMs() + UP_WITHIN_MS;
    for (;;) {
      const { nodes } = await control.listNodes({ filters: [] }, { signal });
      const reached = nodes.filter(count).length;
      if (reached === wanted) return;
      if (systemClock.monotonicMs() > deadline)
        throw new SwarmError(
          "DeadlineExceeded",
          `the lab has ${reached} ${what}, not ${wanted}; see 'tsswarm lab logs NODE'`,
        );
      await systemClock.sleep(POLL_MS, signal);
    }
  });
}

async function* upload(file: string): AsyncGenerator<ImageUpload> {
  yield { part: { $case: "header", value: { reference: "", changes: [], message: "" } } };
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    yield { part: { $case: "chunk", value: chunk } };
  }
}
