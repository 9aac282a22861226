export type * from "./types.ts";
export {
  COMPRESSION_HEAD_BYTES,
  type Compression,
  createDecompressor,
  damagedCompression,
  detectCompression,
} from "./compression.ts";
export { LayerUnpacker, type LayerRequest, type LayerResult } from "./layer.ts";
export { removeTree } from "./remove-tree.ts";
export { TAR_LIMITS, type TarEntry, type TarLimits, type TarSink } from "./tar-entry.ts";
export { TarReader } from "./tar-reader.ts";
export type * from "./runtime-spec.ts";
export { type ContainerRuntimeOptions, defaultShimPath, openContainerRuntime } from "./container.ts";
export { readExitFile } from "./exit-file.ts";
export { type LogLineRecord, type ReadLogsOptions, readLogs } from "./log-file.ts";
export { STDIN_ANNOTATION } from "./plan.ts";
export { containerCapabilities } from "./capabilities.ts";
export { type Cgroup, type CgroupDriver, openCgroups } from "./cgroup.ts";
export { defaultSeccomp } from "./seccomp.ts";
export { type FileLock, lockFile } from "./file-lock.ts";
