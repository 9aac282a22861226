// From a task and its image to an OCI runtime-spec document, by Docker's rules for what an absent field means. Pure: reads no
// file and knows nothing of the machine; compose.ts brings what lies outside.

import { posix } from "node:path";
import { type RuntimeSpec, containerCapabilities, defaultSeccomp } from "../../native/index.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { specResources, specSysctls } from "./spec-limits.ts";
import { specMounts, specPropagation } from "./spec-mounts.ts";
import { type ImageConfig, specProcess } from "./spec-process.ts";

export interface RuntimeSpecRequest {
  readonly task: WholeTask;
  /** `config` is the image's configuration document (OCI image-spec); its inner `config` says how to run it. */
  readonly image: { readonly config: { readonly config?: ImageConfig | undefined } };
  /** [0-9a-f]{64} */
  readonly containerId: string;
  /** "/tsswarm" */
  readonly cgroupParent: string;
  readonly hostname: string;
  /** The container's folder, which holds the files named in ETC_FILES. */
  readonly dir: string;
}

/** Files of the container's folder that are mounted over the image's, by what they cover. */
export const ETC_FILES: readonly (readonly [string, string])[] = [
  ["/etc/hosts", "hosts"],
  ["/etc/resolv.conf", "resolv.conf"],
  ["/etc/hostname", "hostname"],
];

/** What shows the kernel or the machine rather than the container, or lets it be changed. */
const MASKED_PATHS: readonly string[] = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const READ_ONLY_PATHS: readonly string[] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** The document. Throws InvalidArgument with a sentence for the user when the task asks for what cannot be. */
export function runtimeSpec(request: RuntimeSpecRequest): RuntimeSpec {
  const { task, containerId, cgroupParent, hostname, dir } = request;
  const container = task.spec.container;
  const capabilities = containerCapabilities({ add: container.capabilityAdd, drop: container.capabilityDrop });
  const etcFiles = ETC_FILES.map(([target, name]) => ({ target, source: posix.join(dir, name) }));
  const propagation = specPropagation(container.mounts);
  const image = request.image.config.config ?? {};
  return {
    ociVersion: "1.0.2",
    hostname,
    root: { path: posix.join(dir, "rootfs"), readonly: container.readOnly },
    process: specProcess({ container, image, hostname, capabilities }),
    mounts: specMounts(container, etcFiles),
    annotations: { "tsswarm.task": task.id, "tsswarm.service": task.serviceName },
    linux: {
      namespaces: (["pid", "network", "mount", "ipc", "uts", "cgroup"] as const).map((type) => ({ type })),
      cgroupsPath: posix.join(cgroupParent, containerId),
      resources: specResources(task.spec.limits),
      sysctl: specSysctls(container.sysctls),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READ_ONLY_PATHS,
      seccomp: defaultSeccomp({ capabilities }),
      ...(propagation === undefined ? {} : { rootfsPropagation: propagation }),
    },
  };
}
