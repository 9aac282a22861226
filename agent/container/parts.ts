// What a container is made of, as its controller sees it: the runtime, the images and the network of this node, and where
// things lie. The rooms beside this one and native bring the real ones; tests bring scripted ones.

import type { ContainerRuntime, RuntimeSpec } from "../../native/index.ts";
import type { Clock } from "../../proto/base/clock.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { PortConfig } from "../../proto/gen/specs.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import type { ImageConfig } from "./spec-process.ts";

export interface ContainerParts {
  readonly runtime: ContainerRuntime;
  readonly images: ContainerImages;
  readonly network: ContainerNetwork;
  /** `<state>/containers`. */
  readonly dir: string;
  /** Short folder of the shims' sockets. */
  readonly runDir: string;
  /** Absolute below every cgroup hierarchy: "/tsswarm". */
  readonly cgroupParent: string;
  /** Writes the container's files (hosts, resolv.conf, hostname) and says how it is to run. */
  readonly compose: (request: ComposeRequest) => Promise<RuntimeSpec>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The addresses and host ports of containers on this node. */
export interface ContainerNetwork {
  /** Chooses the address and the host ports, which stay taken until `detach`. Throws when a port is taken. */
  reserve(
    request: { readonly containerId: string; readonly ports: readonly PortConfig[] },
    signal: AbortSignal,
  ): Promise<Reservation>;
  /** Wires the namespace of process `pid` up. */
  attach(request: { readonly containerId: string; readonly pid: number }, signal: AbortSignal): Promise<void>;
  /** Lets no new traffic come to it; settles when what was under way is through. At once where nothing leads there. Idempotent. */
  withdraw(containerId: string, signal: AbortSignal): Promise<void>;
  /** Takes wires and reservation away. Idempotent. */
  detach(containerId: string, signal: AbortSignal): Promise<void>;
  /** Takes away what belongs to none of these containers. */
  reconcile(containerIds: ReadonlySet<string>, signal: AbortSignal): Promise<void>;
}

export interface Reservation {
  /** CIDR form. */
  readonly addresses: readonly string[];
  /** As published: every host port set. */
  readonly ports: readonly PortConfig[];
}

export interface ContainerImages {
  /** Rejects with "NotFound" when this node has no such image. */
  resolve(ref: string): Promise<ContainerImage>;
}

export interface ContainerImage {
  /** "sha256:<hex>". */
  readonly id: string;
  /** Its configuration document; the inner one says how it wants to be run. */
  readonly config: { readonly config?: ImageConfig | undefined };
  /** Read-only folders, topmost first. */
  readonly layers: readonly string[];
}

export interface ComposeRequest {
  readonly task: WholeTask;
  readonly image: ContainerImage;
  readonly containerId: string;
  readonly cgroupParent: string;
  readonly hostname: string;
  /** The container's folder. */
  readonly dir: string;
  /** CIDR form. */
  readonly addresses: readonly string[];
}
