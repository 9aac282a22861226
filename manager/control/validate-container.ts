// Whether a container may be what its spec asks: image, process, environment, users, names and limits of the kernel.

import { isIP } from "node:net";
import { capabilityName } from "../../proto/base/capabilities.ts";
import { parseImageReference } from "../../proto/model/image-reference.ts";
import { signalNumber } from "../../proto/base/signals.ts";
import type { ContainerSpec, Ulimit } from "../../proto/gen/specs.ts";
import { type Field, checkForm, checkList, checkNumber, checkText, checkUnique, invalid, refused } from "./validate.ts";
import { checkHealth } from "./validate-health.ts";
import { checkMounts } from "./validate-mounts.ts";
import { checkLabels } from "./validate-names.ts";

const ARGS_MAX = 1_024;
const ARG_LENGTH_MAX = 65_536;
const ENV_MAX = 1_024;
const LINES_MAX = 256;
const GRACE_MS_MAX = 7 * 86_400_000;

const HOST_NAME =
  /^(?=.{1,63}$)[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*$/;
const HOSTS_NAME = /^[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/;
const USER = /^[a-zA-Z0-9_.][a-zA-Z0-9_.-]{0,63}\$?$/;
const ULIMITS: readonly string[] = [
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
];
/** Those that belong to a container's own namespaces; any other would change the machine. */
const SYSCTL =
  /^(?:kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced|domainname)|(?:fs\.mqueue|net)\.[a-zA-Z0-9_./-]+)$/;

export function checkContainer({ path, value: spec }: Field<ContainerSpec>): void {
  const at = <K extends keyof ContainerSpec>(key: K, name: string): Field<ContainerSpec[K]> => ({
    path: `${path}.${name}`,
    value: spec[key],
  });
  checkImage(at("image", "image"));
  checkArguments(at("command", "command"));
  checkArguments(at("args", "args"));
  checkForm(at("hostname", "hostname"), {
    pattern: HOST_NAME,
    expected: "a host name has letters, digits, '-' and '.', and 63 characters at most",
  });
  checkList(at("env", "env"), ENV_MAX, checkEnv);
  checkDirectory(at("dir", "dir"));
  checkUser(at("user", "user"));
  checkList(at("groups", "groups"), 64, (group) => {
    checkForm(group, { pattern: USER, expected: "a group is a name or a number" });
    if (group.value === "") throw invalid(group, "a group is a name or a number");
  });
  checkMounts(at("mounts", "mounts"));
  if (spec.stopSignal !== "" && signalNumber(spec.stopSignal) === undefined)
    throw invalid(at("stopSignal", "stop_signal"), "it must be a signal, such as SIGTERM, TERM or 15");
  if (spec.healthcheck !== undefined) checkHealth({ path: `${path}.healthcheck`, value: spec.healthcheck });
  checkNumber({ path: `${path}.oom_score_adj`, value: spec.oomScoreAdj ?? 0 }, { min: -1_000, max: 1_000 });
  checkNumber({ path: `${path}.stop_grace_ms`, value: spec.stopGraceMs ?? 0 }, { min: 0, max: GRACE_MS_MAX });
  checkList(at("hosts", "hosts"), LINES_MAX, checkHostsLine);
  checkList(at("dnsServers", "dns_servers"), 16, (server) => {
    if (isIP(server.value) === 0) throw invalid(server, "a DNS server is an IP address");
  });
  checkList(at("dnsSearch", "dns_search"), 32, (domain) => {
    if (domain.value !== "." && !HOSTS_NAME.test(domain.value)) throw invalid(domain, "a search domain is a DNS name");
  });
  checkList(at("dnsOptions", "dns_options"), 32, (option) => {
    if (!/^[a-zA-Z0-9_.:-]{1,64}$/.test(option.value)) throw invalid(option, "a resolver option looks like ndots:2");
  });
  checkList(at("capabilityAdd", "capability_add"), 64, checkCapability);
  checkList(at("capabilityDrop", "capability_drop"), 64, checkCapability);
  checkList(at("ulimits", "ulimits"), ULIMITS.length, checkUlimit);
  checkUnique(at("ulimits", "ulimits"), nameOf, (name) => `ulimit ${name} is set twice`);
  checkSysctls(at("sysctls", "sysctls"));
  checkLabels(at("labels", "labels"));
}

function checkImage(field: Field<string>): void {
  if (field.value === "") throw refused(field.path, "image reference must be provided");
  checkText(field, 1_024);
  parseImageReference(field.value);
}

export function checkArguments(field: Field<readonly string[]>): void {
  checkList(field, ARGS_MAX, (argument) => {
    checkText(argument, ARG_LENGTH_MAX);
  });
  if (field.value[0] === "")
    throw invalid({ path: `${field.path}[0]`, value: "" }, "the first word is a program's name");
}

export function checkEnv(field: Field<string>): void {
  checkText(field, ARG_LENGTH_MAX);
  if (!/^[^=\s]+(?:=|$)/.test(field.value)) throw invalid(field, "it must be KEY=VALUE, such as DEBUG=1");
}

export function checkDirectory(field: Field<string>): void {
  checkText(field, 4_095);
  if (field.value !== "" && !field.value.startsWith("/"))
    throw invalid(field, "the working directory must be an absolute path");
}

export function checkUser(field: Field<string>): void {
  const parts = field.value.split(":");
  if (field.value !== "" && (parts.length > 2 || !parts.every((part) => USER.test(part))))
    throw invalid(field, "a user is name|uid[:group|gid]");
}

function checkHostsLine(field: Field<string>): void {
  const [address = "", ...names] = field.value.split(/[ \t]+/);
  if (
    field.value.length > 1_024 ||
    isIP(address) === 0 ||
    names.length === 0 ||
    !names.every((n) => HOSTS_NAME.test(n))
  )
    throw invalid(field, 'a line for /etc/hosts is "IP NAME [NAME...]", such as "10.0.0.7 db"');
}

function checkCapability(field: Field<string>): void {
  if (capabilityName(field.value) === null)
    throw invalid(field, "it must be a capability of Linux, such as NET_ADMIN, or ALL");
}

function nameOf(limit: Ulimit): string {
  return limit.name;
}

function checkUlimit({ path, value: limit }: Field<Ulimit>): void {
  if (!ULIMITS.includes(limit.name))
    throw invalid({ path: `${path}.name`, value: limit.name }, `it must be one of ${ULIMITS.join(", ")}`);
  const range = { min: -1, max: Number.MAX_SAFE_INTEGER };
  checkNumber({ path: `${path}.soft`, value: limit.soft }, range);
  checkNumber({ path: `${path}.hard`, value: limit.hard }, range);
  if (limit.hard !== -1 && (limit.soft === -1 || limit.soft > limit.hard))
    throw refused(path, `ulimit ${limit.name}: the soft limit (${limit.soft}) is above the hard limit (${limit.hard})`);
}

function checkSysctls(field: Field<Readonly<Record<string, string>>>): void {
  const names = Object.keys(field.value);
  if (names.length > 128) throw refused(field.path, `${field.path} has ${names.length} entries; 128 are allowed`);
  for (const name of names) {
    if (name.length > 256 || !SYSCTL.test(name) || name.split(/[./]/).includes(""))
      throw refused(
        field.path,
        `sysctl ${JSON.stringify(name.slice(0, 80))} cannot be set in a container: net.*, fs.mqueue.* and the kernel's IPC settings can`,
      );
    checkText({ path: `${field.path}[${name}]`, value: field.value[name] ?? "" }, 1_024);
  }
}
