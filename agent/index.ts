// The agent's door: what the daemon needs to make a machine a node.

export { Agent, type AgentOptions, type Connection, type ManagerLink } from "./agent.ts";
export { describeNode, architecture } from "./describe.ts";
export type { WorkerCounts } from "./worker.ts";
export type { Controller, Executor } from "./exec/executor.ts";
export { ContainerExecutor, type ContainerExecutorOptions } from "./container/executor.ts";
export { createCompose } from "./container/compose.ts";
export type { ContainerImages, ContainerNetwork, ContainerParts } from "./container/parts.ts";
export { type IssuedIdentity, type Issuer, NodeIdentity } from "./identity.ts";
export { joinCluster, renewingIssuer } from "./identity-join.ts";
export { type ImageHandlers, createImageDoor } from "./image/image-door.ts";
export { ImageStore, type ImageStoreOptions, type ImportOptions, type ResolvedImage } from "./image/image-store.ts";
export { NodeNetwork, type NodeNetworkOptions, type TaskNetwork } from "./network/node-network.ts";
