// Expressions of nf_tables rules: what `nft` would compile its words to. Registers are 4 bytes wide, from 8 up (the 16-byte
// registers 1 to 4 are the same memory, four at a time). Pure.

import type { Attribute } from "./netlink-bytes.ts";
import { u32be } from "./netlink-bytes.ts";

/** One expression: what a rule is a list of. */
export type Expression = Attribute;

const LIST_ELEMENT = 1;
export const VERDICT = { DROP: 0, ACCEPT: 1 } as const;
export const META = { MARK: 3, IIFNAME: 6, OIFNAME: 7, L4PROTO: 16 } as const;
export const COMPARE = { EQ: 0, NEQ: 1 } as const;
const VERDICT_REGISTER = 0;
const INTERFACE_NAME_BYTES = 16;

function expression(name: string, attributes: readonly Attribute[]): Expression {
  return [
    LIST_ELEMENT,
    [
      [1, name],
      [2, attributes],
    ],
  ];
}

/** Loads meta data (protocol, interface name) into a register. */
export function meta(key: number, register: number): Expression {
  return expression("meta", [
    [1, u32be(register)],
    [2, u32be(key)],
  ]);
}

/** Loads bytes of the network (base 1) or transport (base 2) header. */
export function payload(
  from: { readonly base: 1 | 2; readonly offset: number; readonly length: number },
  register: number,
): Expression {
  return expression("payload", [
    [1, u32be(register)],
    [2, u32be(from.base)],
    [3, u32be(from.offset)],
    [4, u32be(from.length)],
  ]);
}

export function compare(register: number, data: Uint8Array, operator: number = COMPARE.EQ): Expression {
  return expression("cmp", [
    [1, u32be(register)],
    [2, u32be(operator)],
    [3, [[1, data]]],
  ]);
}

/** register := register & mask */
export function mask(register: number, bits: Uint8Array): Expression {
  const length = u32be(bits.length);
  return expression("bitwise", [
    [1, u32be(register)],
    [2, u32be(register)],
    [3, length],
    [4, [[1, bits]]],
    [5, [[1, new Uint8Array(bits.length)]]],
  ]);
}

/** Loads the kind of the destination address (local, unicast ...) as the routing table sees it; RTN_LOCAL is 2. */
export function fibDestinationType(register: number): Expression {
  const RESULT_ADDRTYPE = 3;
  const FLAG_DADDR = 2;
  return expression("fib", [
    [1, u32be(register)],
    [2, u32be(RESULT_ADDRTYPE)],
    [3, u32be(FLAG_DADDR)],
  ]);
}

/** Loads a connection's status bits (key 2) or state bits (key 0). */
export function conntrack(key: 0 | 2, register: number): Expression {
  return expression("ct", [
    [1, u32be(register)],
    [2, u32be(key)],
  ]);
}

/** Looks a key up in a map; the rule ends where it is not in it. */
export function lookup(map: { readonly name: string; readonly from: number; readonly to: number }): Expression {
  return expression("lookup", [
    [1, map.name],
    [2, u32be(map.from)],
    [3, u32be(map.to)],
  ]);
}

/** Rewrites the destination to the address and port in two registers (IPv4). */
export function dnat(registers: { readonly address: number; readonly port: number }): Expression {
  const TYPE_DNAT = 1;
  const FAMILY_IPV4 = 2;
  const FLAG_SPECIFIED = 2;
  return expression("nat", [
    [1, u32be(TYPE_DNAT)],
    [2, u32be(FAMILY_IPV4)],
    [3, u32be(registers.address)],
    [5, u32be(registers.port)],
    [7, u32be(FLAG_SPECIFIED)],
  ]);
}

export function masquerade(): Expression {
  return expression("masq", []);
}

export function verdict(code: number): Expression {
  return expression("immediate", [
    [1, u32be(VERDICT_REGISTER)],
    [2, [[2, [[1, u32be(code)]]]]],
  ]);
}

/** The name as rules compare it: padded with zeros. */
export function interfaceName(name: string): Buffer {
  const bytes = Buffer.alloc(INTERFACE_NAME_BYTES);
  bytes.write(name);
  return bytes;
}
