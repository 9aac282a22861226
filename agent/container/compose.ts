// Readies a container's folder: writes its hosts, resolv.conf and hostname files, sees that what it binds is there, and says
// as an OCI document how it is to run.

import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type RuntimeSpec, defaultInitPath } from "../../native/index.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { type Mount, Mount_Type } from "../../proto/gen/specs.ts";
import { withTaskEnvironment } from "./environment.ts";
import { etcFiles, isReachable, parseResolvConf } from "./etc-files.ts";
import type { ComposeRequest } from "./parts.ts";
import { ETC_FILES, runtimeSpec } from "./spec.ts";

export interface ComposeOptions {
  /** Of this machine, told to tasks in their environment. */
  readonly nodeHostname: string;
  /** In order of preference; the usual two when absent. */
  readonly resolvConfPaths?: readonly string[];
  /** The init of containers that ask for one; beside the shim when absent. */
  readonly initPath?: string;
}

/** The second is where systemd-resolved lists the real servers when the first names only its stub on the loopback. */
const RESOLV_CONF_PATHS: readonly string[] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
const RESOLV_CONF_BYTES_MAX = 65_536;

/** The function that a container's controller calls; it throws InvalidArgument for what the user must mend. */
export function createCompose(options: ComposeOptions): (request: ComposeRequest) => Promise<RuntimeSpec> {
  return async (request) => {
    const { task, image, containerId, cgroupParent, hostname, dir, addresses } = request;
    const container = task.spec.container;
    // Before anything is written: what the task asks may be impossible.
    const spec = runtimeSpec({ task, image, containerId, cgroupParent, hostname, dir });
    for (const mount of container.mounts) await checkSource(mount);
    const { hosts, dnsServers, dnsSearch, dnsOptions } = container;
    const machineResolvConf = await readResolvConf(options.resolvConfPaths ?? RESOLV_CONF_PATHS);
    const files = etcFiles({ hostname, addresses, hosts, dnsServers, dnsSearch, dnsOptions, machineResolvConf });
    const content = [files.hosts, files.resolvConf, files.hostname];
    for (const [index, [, name]] of ETC_FILES.entries()) {
      await writeFile(join(dir, name), content[index] ?? "");
      // For whichever user the program runs as, whatever the daemon's umask.
      await chmod(join(dir, name), 0o644);
    }
    const env = withTaskEnvironment(spec.process.env, task, options.nodeHostname);
    const composed = { ...spec, process: { ...spec.process, env } };
    return container.init ? withInit(composed, options.initPath ?? defaultInitPath()) : composed;
  };
}

/** Where a container finds its init: in /dev, which is its own, so that nothing of the image is covered. */
const INIT = "/dev/init";

/** The init as process 1, with the program's words behind it. Read-only, so that no container can change it for the others. */
function withInit(spec: RuntimeSpec, source: string): RuntimeSpec {
  const mount = { destination: INIT, type: "bind", source, options: ["bind", "ro", "nosuid", "nodev"] };
  const process = { ...spec.process, args: [INIT, "--", ...spec.process.args] };
  return { ...spec, process, mounts: [...spec.mounts, mount] };
}

async function checkSource({ type, source, bindCreateSrc }: Mount): Promise<void> {
  if (type !== Mount_Type.BIND) return;
  try {
    await stat(source);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT")
      throw new SwarmError("FailedPrecondition", `bind source ${source} cannot be read: ${errorText(error)}`);
    if (!bindCreateSrc)
      throw new SwarmError(
        "InvalidArgument",
        `invalid mount config for type "bind": bind source path does not exist: ${source}; make it on every node, or set bind-create-src`,
      );
    await mkdir(source, { recursive: true });
  }
}

/** The first file that names a server containers can reach; else what the first one has. */
async function readResolvConf(paths: readonly string[]): Promise<string> {
  const texts = await Promise.all(paths.map(readBounded));
  return texts.find((text) => parseResolvConf(text).servers.some(isReachable)) ?? texts[0] ?? "";
}

async function readBounded(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).slice(0, RESOLV_CONF_BYTES_MAX);
  } catch (error) {
    // A machine without a resolver of its own.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
