// The local socket's services. Local is this machine's; Control is passed on to the manager where this node is one. A node that
// is none says so in Docker's words.

import { release } from "node:os";
import { SwarmError } from "../../proto/base/errors.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { type LocalService, type RestoreHeader, type RestoreUpload, VersionResponse } from "../../proto/gen/local.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import type { Handlers } from "../../proto/rpc/methods.ts";
import type { Access } from "../../proto/rpc/serve.ts";
import { VERSION } from "../version.ts";
import type { SwarmNode } from "./node.ts";

type Handler = (input: never, context: CallContext) => unknown;

const LOCAL_ONLY = ["local"] as const;

/** Every method of the service, for callers of the socket alone. */
export function localAccess<S extends object>(service: S): Access<S> {
  return Object.fromEntries(Object.keys(service).map((name) => [name, LOCAL_ONLY])) as unknown as Access<S>;
}

export function controlDoor(node: SwarmNode): Handlers<typeof ControlService> {
  const entries = Object.keys(ControlService).map((name) => [
    name,
    (input: never, context: CallContext) => {
      const control = node.control() as unknown as Readonly<Record<string, Handler>>;
      return control[name]?.(input, context);
    },
  ]);
  return Object.fromEntries(entries) as Handlers<typeof ControlService>;
}

export function localDoor(node: SwarmNode): Handlers<typeof LocalService> {
  return {
    ...node.imageDoor,
    version: () => Promise.resolve(versionResponse()),
    info: () => node.info(),
    swarmInit: (request, { signal }) => node.init(request, signal),
    swarmJoin: (request, { signal }) => node.join(request, signal),
    swarmLeave: async ({ force }, { signal }) => {
      await node.leave({ force }, signal);
      return {};
    },
    async *backup(_request, { signal }) {
      for await (const chunk of node.manager().backup(signal)) yield { chunk };
    },
    async *restoreCluster(requests, { signal }) {
      const { header, backup } = await openRestore(requests);
      yield await node.restore({ header, backup }, signal);
    },
  };
}

/** The header, which comes first, and the bytes after it. */
async function openRestore(
  requests: AsyncIterable<RestoreUpload>,
): Promise<{ readonly header: RestoreHeader; readonly backup: AsyncIterable<Uint8Array> }> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.part?.$case !== "header")
    throw new SwarmError("InvalidArgument", "a restore begins with its header");
  return { header: first.value.part.value, backup: chunksOf(iterator) };
}

async function* chunksOf(iterator: AsyncIterator<RestoreUpload>): AsyncGenerator<Uint8Array> {
  try {
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      const { part } = next.value;
      if (part?.$case !== "chunk")
        throw new SwarmError("InvalidArgument", "a restore has one header; pieces follow it");
      yield part.value;
    }
  } finally {
    await iterator.return?.();
  }
}

function versionResponse(): VersionResponse {
  return VersionResponse.create({
    version: VERSION,
    nodeVersion: process.versions.node,
    kernelVersion: release(),
    platform: { os: process.platform, architecture: process.arch === "x64" ? "amd64" : process.arch },
  });
}

/** What a node that is no manager answers to everything about the cluster. */
export function notManager(inCluster: boolean): SwarmError {
  return new SwarmError(
    "FailedPrecondition",
    inCluster
      ? "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager."
      : 'This node is not a swarm manager. Use "tsswarm swarm init" or "tsswarm swarm join" to connect this node to swarm and try again.',
  );
}
