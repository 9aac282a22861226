// Makes one cluster of a lab's daemons, as a person would: init on the first, join on the others, the demo's image loaded on all.

import { createReadStream, existsSync, readFileSync } from "node:fs";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { type ImageUpload, LocalService } from "../../proto/gen/local.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { ClusterSpec, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { type RpcChannel, unixChannel } from "../../proto/rpc/channel.ts";
import type { Client } from "../../proto/rpc/methods.ts";
import { type Lab, type LabNode, placesOf } from "./lab.ts";

const UP_WITHIN_MS = 30_000;
const POLL_MS = 25;
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

/** The first manager makes the cluster, the others join it; settles when every node is ready. */
export async function formCluster(lab: Lab, signal: AbortSignal): Promise<void> {
  const [first, ...others] = lab.nodes;
  if (first === undefined) return;
  const { heartbeatPeriodMs } = lab;
  const spec = heartbeatPeriodMs === undefined ? undefined : ClusterSpec.create({ name: "default", heartbeatPeriodMs });
  const made = await withNode(lab, first, (local) =>
    local.swarmInit(
      { listenAddr: "", advertiseAddr: first.address, availability: NodeSpec_Availability.ACTIVE, spec },
      { signal },
    ),
  );
  await Promise.all(
    others.map((node) =>
      withNode(lab, node, (local) =>
        local.swarmJoin(
          {
            remoteAddrs: [made.addr],
            token: made.joinTokenWorker,
            listenAddr: "",
            advertiseAddr: node.address,
            availability: NodeSpec_Availability.ACTIVE,
          },
          { signal },
        ),
      ),
    ),
  );
  await untilReady(lab, first, signal);
}

async function untilReady(lab: Lab, manager: LabNode, signal: AbortSignal): Promise<void> {
  await withNode(lab, manager, async (_, channel) => {
    const control = createClient(ControlService, channel);
    const deadline = systemClock.monotonicMs() + UP_WITHIN_MS;
    for (;;) {
      const { nodes } = await control.listNodes({ filters: [] }, { signal });
      const ready = nodes.filter((node) => node.status?.state === NodeStatus_State.READY).length;
      if (ready === lab.nodes.length) return;
      if (systemClock.monotonicMs() > deadline)
        throw new SwarmError(
          "DeadlineExceeded",
          `only ${ready} of ${lab.nodes.length} nodes became ready; see 'tsswarm lab logs NODE'`,
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
