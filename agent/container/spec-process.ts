// The program of a container: what runs, as whom, where, with which environment and bounds. The service's words win over the
// image's, as Docker merges them.

import { posix } from "node:path";
import type { SpecProcess } from "../../native/index.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { ContainerSpec, Ulimit } from "../../proto/gen/specs.ts";
import type { ImageHealthcheck } from "./health-config.ts";

/** How an image wants to be run (OCI image-spec, "config"). Builders write null for what is absent. */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[] | null | undefined;
  readonly Cmd?: readonly string[] | null | undefined;
  /** KEY=VALUE each. */
  readonly Env?: readonly string[] | null | undefined;
  readonly User?: string | null | undefined;
  readonly WorkingDir?: string | null | undefined;
  readonly StopSignal?: string | null | undefined;
  readonly Healthcheck?: ImageHealthcheck | null | undefined;
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface ProcessRequest {
  readonly container: ContainerSpec;
  readonly image: ImageConfig;
  readonly hostname: string;
  /** "CAP_..." */
  readonly capabilities: readonly string[];
}

export function specProcess({ container, image, hostname, capabilities }: ProcessRequest): SpecProcess {
  return {
    terminal: container.tty,
    args: commandLine(container, image),
    env: environment({ container, image, hostname }),
    cwd: posix.resolve("/", container.dir || (image.WorkingDir ?? "")),
    user: {
      uid: 0,
      gid: 0,
      umask: 0o022,
      additionalGids: container.groups.map(groupId),
      username: container.user || (image.User ?? ""),
    },
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    rlimits: container.ulimits.map(rlimit),
    noNewPrivileges: container.noNewPrivileges,
    ...(container.oomScoreAdj === undefined ? {} : { oomScoreAdj: container.oomScoreAdj }),
  };
}

/** The service's command replaces the image's entrypoint and with it the image's command; its args replace the command. */
function commandLine(container: ContainerSpec, image: ImageConfig): readonly string[] {
  const ownCommand = container.command.length > 0;
  const entrypoint = ownCommand ? container.command : (image.Entrypoint ?? []);
  const imageArgs = ownCommand ? [] : (image.Cmd ?? []);
  const line = [...entrypoint, ...(container.args.length > 0 ? container.args : imageArgs)];
  if ((line[0] ?? "") !== "") return line;
  throw new SwarmError(
    "InvalidArgument",
    `No command specified: image ${container.image} names none, so give one after the image's name or with --entrypoint`,
  );
}

/** Later entries win; one without "=" takes the variable away. Order: defaults, image, service. */
function environment(options: Pick<ProcessRequest, "container" | "image" | "hostname">): readonly string[] {
  const variables = new Map<string, string>();
  const defaults = [`PATH=${PATH}`, `HOSTNAME=${options.hostname}`, ...(options.container.tty ? ["TERM=xterm"] : [])];
  for (const entry of [...defaults, ...(options.image.Env ?? []), ...options.container.env]) {
    const equals = entry.indexOf("=");
    if (equals < 0) variables.delete(entry);
    else variables.set(entry.slice(0, equals), entry);
  }
  return [...variables.values()];
}

function groupId(text: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (id <= 0x7fffffff) return id;
  throw new SwarmError(
    "InvalidArgument",
    `supplementary group ${JSON.stringify(text)} must be a number from 0 to 2147483647`,
  );
}

/** RLIMIT_* by the names of `ulimit` that Docker takes. */
const ULIMITS: Readonly<Record<string, string>> = {
  core: "RLIMIT_CORE",
  cpu: "RLIMIT_CPU",
  data: "RLIMIT_DATA",
  fsize: "RLIMIT_FSIZE",
  locks: "RLIMIT_LOCKS",
  memlock: "RLIMIT_MEMLOCK",
  msgqueue: "RLIMIT_MSGQUEUE",
  nice: "RLIMIT_NICE",
  nofile: "RLIMIT_NOFILE",
  nproc: "RLIMIT_NPROC",
  rss: "RLIMIT_RSS",
  rtprio: "RLIMIT_RTPRIO",
  rttime: "RLIMIT_RTTIME",
  sigpending: "RLIMIT_SIGPENDING",
  stack: "RLIMIT_STACK",
};

function rlimit({ name, soft, hard }: Ulimit): NonNullable<SpecProcess["rlimits"]>[number] {
  const type = Object.hasOwn(ULIMITS, name) ? ULIMITS[name] : undefined;
  if (type === undefined)
    throw new SwarmError(
      "InvalidArgument",
      `there is no ulimit ${JSON.stringify(name)}; it must be one of ${Object.keys(ULIMITS).join(", ")}`,
    );
  if (hard >= 0 && (soft < 0 || soft > hard))
    throw new SwarmError("InvalidArgument", `ulimit ${name}: the soft limit ${soft} is above the hard limit ${hard}`);
  return { type, soft, hard };
}
