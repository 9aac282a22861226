// Which address a node is known by. A guess that is wrong makes a cluster that half works, so there is none: one address or
// the person's choice.

import { isIP, isIPv6 } from "node:net";
import { SwarmError } from "../../proto/base/errors.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";

export interface HostAddress {
  readonly interfaceName: string;
  readonly address: string;
}

/** host:port, with brackets around an IPv6 host. */
export function joinHostPort(part: { readonly host: string; readonly port: number }): string {
  return isIPv6(part.host) ? `[${part.host}]:${part.port}` : `${part.host}:${part.port}`;
}

/** Splits "10.0.0.1", "10.0.0.1:2377", "[::1]:2377", "eth0:2377" or "host". Throws InvalidArgument for a bad port. */
export function splitHostPort(text: string, options: { readonly flag: string }): { host: string; port: number } {
  const match = isIPv6(text) ? [text, text, undefined] : /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(text);
  if (match === null) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid ${options.flag} "${text}": it must be ADDRESS, ADDRESS:PORT or INTERFACE[:PORT]`,
    );
  }
  const host = match[1] ?? match[2] ?? "";
  const portText = match[3];
  const port = portText === undefined ? DEFAULTS.clusterPort : Number(portText);
  if (port > 65_535)
    throw new SwarmError("InvalidArgument", `invalid ${options.flag} "${text}": port ${port} is over 65535`);
  return { host, port };
}

/**
 * The host:port that others reach this node at. `wanted` is an address or the name of an interface, with or without a port;
 * empty: the one address the machine has. Throws FailedPrecondition with the list when there are several or none.
 */
export function chooseAdvertiseAddr(options: {
  readonly wanted: string;
  readonly listenPort: number;
  readonly addresses: readonly HostAddress[];
}): string {
  const { wanted, listenPort, addresses } = options;
  if (wanted !== "") {
    const { host, port } = splitHostPort(wanted, { flag: "--advertise-addr" });
    const usedPort = /:\d+$/.test(wanted) && !isIPv6(wanted) ? port : listenPort;
    if (isIP(host) !== 0) {
      if (host === "0.0.0.0" || host === "::") {
        throw new SwarmError(
          "InvalidArgument",
          "advertise address must be a non-zero IP address or network interface (with optional port number)",
        );
      }
      return joinHostPort({ host, port: usedPort });
    }
    const own = addresses.filter((each) => each.interfaceName === host);
    const [only, ...others] = own
      .filter((each) => !isIPv6(each.address))
      .concat(own.filter((each) => isIPv6(each.address)));
    if (only === undefined) {
      throw new SwarmError(
        "InvalidArgument",
        `--advertise-addr "${host}" is neither an IP address nor an interface with one; this machine has ${describe(addresses)}`,
      );
    }
    if (others.some((each) => isIPv6(each.address) === isIPv6(only.address))) {
      throw new SwarmError(
        "FailedPrecondition",
        `interface ${host} has several addresses (${describe(own)}): specify one with --advertise-addr`,
      );
    }
    return joinHostPort({ host: only.address, port: usedPort });
  }
  const usable = addresses.filter((each) => !isIPv6(each.address));
  const [only, ...others] = usable.length > 0 ? usable : addresses;
  if (only === undefined) {
    throw new SwarmError(
      "FailedPrecondition",
      "could not find an address to advertise: this machine has none but loopback; give it one, or choose with --advertise-addr",
    );
  }
  if (others.length > 0) {
    throw new SwarmError(
      "FailedPrecondition",
      `could not choose an IP address to advertise since this system has multiple addresses on different interfaces (${describe([only, ...others])}): specify one with --advertise-addr`,
    );
  }
  return joinHostPort({ host: only.address, port: listenPort });
}

function describe(addresses: readonly HostAddress[]): string {
  if (addresses.length === 0) return "no addresses";
  return addresses.map((each) => `${each.address} on ${each.interfaceName}`).join(", ");
}
