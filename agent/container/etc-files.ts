// The text of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname. Pure; compose.ts reads and writes the files.

import { isIP } from "node:net";

export interface EtcFilesRequest {
  readonly hostname: string;
  /** The container's own, in CIDR form or bare. */
  readonly addresses: readonly string[];
  /** "IP NAME [NAME...]" each. */
  readonly hosts: readonly string[];
  readonly dnsServers: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** Content of the machine's resolv.conf, the source of what the lists above leave open. */
  readonly machineResolvConf: string;
}

export interface EtcFiles {
  readonly hosts: string;
  readonly resolvConf: string;
  readonly hostname: string;
}

/** Used when the machine names no server that a container could reach; the same as Docker's. */
const FALLBACK_SERVERS: readonly string[] = ["8.8.8.8", "8.8.4.4"];
/** The C library reads no more. */
const SERVERS_MAX = 3;

export function etcFiles(request: EtcFilesRequest): EtcFiles {
  return { hosts: hostsFile(request), resolvConf: resolvConf(request), hostname: `${request.hostname}\n` };
}

function hostsFile({ hostname, addresses, hosts }: EtcFilesRequest): string {
  const [short = hostname] = hostname.split(".");
  const names = short === hostname ? hostname : `${hostname} ${short}`;
  return [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
    ...hosts.map((line) => line.trim().replace(/\s+/, "\t")),
    ...addresses.map((address) => `${address.split("/", 1)[0] ?? ""}\t${names}`),
    "",
  ].join("\n");
}

function resolvConf(request: EtcFilesRequest): string {
  const machine = parseResolvConf(request.machineResolvConf);
  const reachable = machine.servers.filter(isReachable);
  const servers = request.dnsServers.length > 0 ? request.dnsServers : reachable;
  const search = request.dnsSearch.length > 0 ? request.dnsSearch.filter((name) => name !== ".") : machine.search;
  const options = request.dnsOptions.length > 0 ? request.dnsOptions : machine.options;
  return [
    ...(servers.length > 0 ? servers : FALLBACK_SERVERS).slice(0, SERVERS_MAX).map((server) => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(" ")}`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
    "",
  ].join("\n");
}

export interface ResolvConf {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** Reads a resolv.conf (resolv.conf(5)): servers add up, of search lines the last one counts. */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  const options: string[] = [];
  let search: readonly string[] = [];
  for (const line of text.split("\n")) {
    const [key, ...values] = line
      .replace(/[#;].*/, "")
      .trim()
      .split(/\s+/);
    if (key === "nameserver" && values[0] !== undefined) servers.push(values[0]);
    else if (key === "search" || key === "domain") search = values.filter((name) => name !== ".");
    else if (key === "options") options.push(...values);
  }
  return { servers, search, options };
}

/** The machine's own loopback and link-local zones mean nothing in a container's network namespace. */
export function isReachable(server: string): boolean {
  return isIP(server) !== 0 && !server.startsWith("127.") && server !== "::1" && !server.includes("%");
}
