// Addresses and subnets as placement constraints name them, `10.0.0.7` and `2001:db8::/32`, compared as numbers.

export interface IpRange {
  readonly bits: 32 | 128;
  readonly address: bigint;
  /** Leading bits that count. */
  readonly prefix: number;
}

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;
const GROUPS = 8;

/** An address, or a subnet in CIDR form; undefined for anything else. IPv4 within IPv6 (`::ffff:10.0.0.7`) is taken for IPv4. */
export function parseIpRange(text: string): IpRange | undefined {
  const [, ip = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const found = parseIp(ip);
  if (found === undefined) return undefined;
  const prefix = length === undefined ? found.bits : Number(length);
  return prefix > found.bits ? undefined : { ...found, prefix };
}

/** Is the address of `text`, which may have a port, in the range? */
export function isInRange(text: string, range: IpRange): boolean {
  const found = parseIp(withoutPort(text));
  if (found?.bits !== range.bits) return false;
  const ignored = BigInt(range.bits - range.prefix);
  return found.address >> ignored === range.address >> ignored;
}

function withoutPort(text: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
}

function parseIp(text: string): Omit<IpRange, "prefix"> | undefined {
  const v4 = parseIpv4(text);
  if (v4 !== undefined) return { bits: 32, address: BigInt(v4) };
  const mapped = /^::ffff:([\d.]+)$/i.exec(text)?.[1];
  if (mapped !== undefined) return parseIp(mapped);
  const groups = ipv6Groups(text);
  if (groups === undefined) return undefined;
  return { bits: 128, address: groups.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n) };
}

function parseIpv4(text: string): number | undefined {
  const parts = IPV4.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

function ipv6Groups(text: string): readonly number[] | undefined {
  const halves = text.split("::");
  if (!text.includes(":") || halves.length > 2) return undefined;
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = GROUPS - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const words = [...head, ...Array.from({ length: missing }, () => "0"), ...tail];
  return words.every((word) => /^[0-9a-f]{1,4}$/i.test(word))
    ? words.map((word) => Number.parseInt(word, 16))
    : undefined;
}
