// The addresses of the node's bridge: which subnet it has, and which address is the next to give away. Pure.

import { SwarmError } from "../../proto/base/errors.ts";

export interface Subnet {
  /** Network address as a number. */
  readonly base: number;
  readonly prefix: number;
}

/** Tried in order; the first that overlaps no route of the host is taken. */
export const CANDIDATES: readonly string[] = [
  ...Array.from({ length: 14 }, (_, index) => `172.${30 - index}.0.0/16`),
  ...Array.from({ length: 16 }, (_, index) => `10.${200 + index}.0.0/16`),
];

export function parseSubnet(text: string): Subnet {
  const match = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(text);
  const prefix = Number(match?.[2]);
  if (match?.[1] === undefined || prefix < 8 || prefix > 29) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid subnet "${text}": it must be ADDRESS/PREFIX with a prefix from 8 to 29`,
    );
  }
  return { base: toNumber(match[1]) & maskOf(prefix), prefix };
}

export function toNumber(address: string): number {
  return address.split(".").reduce((value, part) => (value << 8) | Number(part), 0);
}

export function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}

function maskOf(prefix: number): number {
  return prefix === 0 ? 0 : (-1 << (32 - prefix)) | 0;
}

export function overlap(a: Subnet, b: Subnet): boolean {
  const mask = maskOf(Math.min(a.prefix, b.prefix));
  return (a.base & mask) === (b.base & mask);
}

export function gatewayOf(subnet: Subnet): string {
  return toText(subnet.base + 1);
}

/** The network's address as four bytes and its mask, for rules that ask whether an address is in it. */
export function maskText(subnet: Subnet): string {
  return toText(maskOf(subnet.prefix));
}

/**
 * The next free address after `last`, around the subnet: one that was given back rests as long as it can. Throws
 * ResourceExhausted when none is left.
 */
export function nextAddress(
  subnet: Subnet,
  options: { readonly last: number; readonly taken: ReadonlySet<string> },
): string {
  const first = 2;
  const count = 2 ** (32 - subnet.prefix) - 1 - first;
  for (let step = 1; step <= count; step += 1) {
    const offset = first + ((Math.max(options.last, first - 1) - first + step) % count);
    const address = toText(subnet.base + offset);
    if (!options.taken.has(address)) return address;
  }
  throw new SwarmError(
    "ResourceExhausted",
    `no address is left in ${toText(subnet.base)}/${subnet.prefix}, the subnet of this node's bridge: ${options.taken.size} are in use`,
  );
}

export function offsetOf(subnet: Subnet, address: string): number {
  return toNumber(address) - subnet.base;
}

/** The destinations of /proc/net/route (hexadecimal, little-endian) that do not go out by `bridge`; the default route is none. */
export function routesOf(table: string, bridge: string): readonly Subnet[] {
  return table
    .split("\n")
    .slice(1)
    .map((line) => line.split(/\s+/))
    .filter(([name = "", destination = ""]) => name !== "" && name !== bridge && destination !== "00000000")
    .map(([, destination = "", , , , , , mask = ""]) => ({
      base: fromHex(destination),
      prefix: prefixOf(fromHex(mask)),
    }));
}

function fromHex(littleEndian: string): number {
  const bytes = littleEndian.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
  return bytes.reverse().reduce((value, byte) => (value << 8) | byte, 0);
}

/** Ones at the beginning of a mask. */
function prefixOf(mask: number): number {
  return Math.clz32(~mask);
}
