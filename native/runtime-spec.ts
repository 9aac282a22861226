// The part of the OCI runtime specification (config.json, 1.0.2) that we write and read, as types.

export interface RuntimeSpec {
  readonly ociVersion: string;
  readonly hostname?: string;
  readonly root: { readonly path: string; readonly readonly?: boolean };
  readonly process: SpecProcess;
  readonly mounts: readonly SpecMount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux: SpecLinux;
}

export interface SpecProcess {
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: {
    readonly uid: number;
    readonly gid: number;
    readonly umask?: number;
    readonly additionalGids?: readonly number[];
    /** name|uid[:group|gid], looked up in the container's own files; wins over uid and gid (the specification's Windows field, used as runc and crun do not forbid). */
    readonly username?: string;
  };
  readonly capabilities?: {
    readonly bounding: readonly string[];
    readonly effective: readonly string[];
    readonly permitted: readonly string[];
    readonly inheritable?: readonly string[];
    readonly ambient?: readonly string[];
  };
  readonly rlimits?: readonly { readonly type: string; readonly soft: number; readonly hard: number }[];
  readonly noNewPrivileges?: boolean;
  readonly oomScoreAdj?: number;
}

export interface SpecMount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
}

export interface SpecLinux {
  readonly namespaces: readonly { readonly type: NamespaceType; readonly path?: string }[];
  /** Absolute below every hierarchy: "/tsswarm/<id>". */
  readonly cgroupsPath: string;
  readonly resources?: SpecResources;
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly devices?: readonly SpecDevice[];
  readonly seccomp?: SpecSeccomp;
  readonly rootfsPropagation?: string;
}

export type NamespaceType = "pid" | "network" | "mount" | "ipc" | "uts" | "user" | "cgroup";

export interface SpecResources {
  readonly memory?: {
    readonly limit?: number;
    readonly swap?: number;
    readonly reservation?: number;
    readonly swappiness?: number;
  };
  readonly cpu?: {
    readonly shares?: number;
    /** Microseconds of CPU time per period. */
    readonly quota?: number;
    readonly period?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly pids?: { readonly limit: number };
  readonly devices?: readonly SpecDeviceRule[];
}

export interface SpecDeviceRule {
  readonly allow: boolean;
  readonly type?: "a" | "b" | "c";
  readonly major?: number;
  readonly minor?: number;
  readonly access?: string;
}

export interface SpecDevice {
  readonly path: string;
  readonly type: "b" | "c" | "p" | "u";
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface SpecSeccomp {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: SeccompAction;
    readonly errnoRet?: number;
    readonly args?: readonly SeccompArg[];
  }[];
}

export type SeccompAction =
  "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO" | "SCMP_ACT_KILL" | "SCMP_ACT_KILL_PROCESS" | "SCMP_ACT_LOG" | "SCMP_ACT_TRAP";

export interface SeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op:
    | "SCMP_CMP_EQ"
    | "SCMP_CMP_NE"
    | "SCMP_CMP_LT"
    | "SCMP_CMP_LE"
    | "SCMP_CMP_GT"
    | "SCMP_CMP_GE"
    | "SCMP_CMP_MASKED_EQ";
}
