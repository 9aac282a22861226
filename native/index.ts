// The door of the native room: containers, their logs and control groups, layers, networks. Nothing else of it is for others.

export type * from "./types.ts";
export { decompress } from "./compression.ts";
export { LayerUnpacker, type LayerRequest, type LayerResult } from "./layer.ts";
export { removeTree } from "./remove-tree.ts";
export { TAR_LIMITS, type TarEntry, type TarLimits, type TarSink } from "./tar-entry.ts";
export { TarReader } from "./tar-reader.ts";
export type * from "./runtime-spec.ts";
export { type ContainerRuntimeOptions, defaultInitPath, defaultShimPath, openContainerRuntime } from "./container.ts";
export { readExitFile } from "./exit-file.ts";
export { type LogLineRecord, type ReadLogsOptions, readLogs } from "./log-file.ts";
export { STDIN_ANNOTATION } from "./plan.ts";
export { containerCapabilities } from "./capabilities.ts";
export { type Cgroup, type CgroupDriver, openCgroups } from "./cgroup.ts";
export { defaultSeccomp } from "./seccomp.ts";
export { type FileLock, lockFile } from "./file-lock.ts";
export { type KernelCheck, checkKernel } from "./kernel-checks.ts";
export type { MapElement } from "./nftables.ts";
export { NetworkWorker } from "./network.ts";
export * as nftables from "./nftables.ts";
export * as expressions from "./nftables-expressions.ts";
export * as rtnetlink from "./rtnetlink.ts";
export { interfaceName } from "./nftables-expressions.ts";
export { ipv4, u16be } from "./netlink-bytes.ts";
