// Messages of nf_tables: tables, chains, rules, maps and their elements, and a batch around them that is taken whole or not at
// all. Pure; netlink.ts sends them.

import {
  FLAGS,
  type NetlinkMessage,
  type ReceivedMessage,
  attributeList,
  decodeAttributes,
  text,
  u32be,
} from "./netlink-bytes.ts";
import type { Expression } from "./nftables-expressions.ts";

const SUBSYSTEM = 10;
const MESSAGE = {
  NEWTABLE: 0,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  NEWRULE: 6,
  GETRULE: 7,
  DELRULE: 8,
  NEWSET: 9,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
} as const;
const BATCH_BEGIN = 16;
const BATCH_END = 17;

export const FAMILY = { INET: 1, IPV4: 2 } as const;
export const HOOK = { PREROUTING: 0, FORWARD: 2, OUTPUT: 3, POSTROUTING: 4 } as const;
export const POLICY = { DROP: 0, ACCEPT: 1 } as const;

/** A table of one family. */
export interface TableName {
  readonly family: number;
  readonly table: string;
}

export interface ChainName extends TableName {
  readonly chain: string;
}

function nfHeader(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 0xff]);
}

function message(
  kind: number,
  options: { readonly family: number; readonly flags: number; readonly attributes: NetlinkMessage["attributes"] },
): NetlinkMessage {
  return {
    type: (SUBSYSTEM << 8) | kind,
    flags: options.flags,
    header: nfHeader(options.family),
    attributes: options.attributes,
  };
}

/** All of it or nothing. */
export function batch(messages: readonly NetlinkMessage[]): readonly NetlinkMessage[] {
  const edge = (type: number): NetlinkMessage => ({ type, flags: 0, header: nfHeader(0, SUBSYSTEM), attributes: [] });
  return [edge(BATCH_BEGIN), ...messages, edge(BATCH_END)];
}

/** Makes the table, or finds it there. */
export function addTable({ family, table }: TableName): NetlinkMessage {
  return message(MESSAGE.NEWTABLE, {
    family,
    flags: FLAGS.CREATE | FLAGS.ACK,
    attributes: [
      [1, table],
      [2, u32be(0)],
    ],
  });
}

export function deleteTable({ family, table }: TableName): NetlinkMessage {
  return message(MESSAGE.DELTABLE, { family, flags: FLAGS.ACK, attributes: [[1, table]] });
}

export function addBaseChain(
  name: ChainName,
  base: { readonly type: "nat" | "filter"; readonly hook: number; readonly priority: number },
): NetlinkMessage {
  return message(MESSAGE.NEWCHAIN, {
    family: name.family,
    flags: FLAGS.CREATE | FLAGS.ACK,
    attributes: [
      [1, name.table],
      [3, name.chain],
      [
        4,
        [
          [1, u32be(base.hook)],
          [2, u32be(base.priority)],
        ],
      ],
      [5, u32be(POLICY.ACCEPT)],
      [7, base.type],
    ],
  });
}

export interface RuleOptions {
  readonly expressions: readonly Expression[];
  /** Kept with the rule and shown by `nft` as its comment. */
  readonly comment?: string;
  /** Before all others instead of behind them. */
  readonly first?: boolean;
}

export function addRule(name: ChainName, options: RuleOptions): NetlinkMessage {
  const place = options.first === true ? 0 : FLAGS.APPEND;
  return message(MESSAGE.NEWRULE, {
    family: name.family,
    flags: FLAGS.CREATE | FLAGS.ACK | place,
    attributes: [
      [1, name.table],
      [2, name.chain],
      [4, options.expressions],
      [7, options.comment === undefined ? undefined : commentData(options.comment)],
    ],
  });
}

export function deleteRule(name: ChainName, handle: Uint8Array): NetlinkMessage {
  return message(MESSAGE.DELRULE, {
    family: name.family,
    flags: FLAGS.ACK,
    attributes: [
      [1, name.table],
      [2, name.chain],
      [3, handle],
    ],
  });
}

/** How nft keeps a comment: type 0, length, text with its NUL. */
function commentData(comment: string): Buffer {
  const data = Buffer.from(`${comment}\0`);
  return Buffer.concat([Buffer.from([0, data.length]), data]);
}

export interface MapOptions {
  readonly name: string;
  /** Type numbers as nft names them (six bits a part of a concatenation), and lengths in bytes, each part padded to 4. */
  readonly key: { readonly type: number; readonly length: number };
  readonly data: { readonly type: number; readonly length: number };
}

export function addMap({ family, table }: TableName, options: MapOptions): NetlinkMessage {
  const FLAG_MAP = 8;
  return message(MESSAGE.NEWSET, {
    family,
    flags: FLAGS.CREATE | FLAGS.ACK,
    attributes: [
      [1, table],
      [2, options.name],
      [3, u32be(FLAG_MAP)],
      [4, u32be(options.key.type)],
      [5, u32be(options.key.length)],
      [6, u32be(options.data.type)],
      [7, u32be(options.data.length)],
      [10, u32be(1)],
    ],
  });
}

export interface MapElement {
  readonly key: Uint8Array;
  readonly data: Uint8Array;
}

export interface MapName extends TableName {
  readonly map: string;
}

export function addElements({ family, table, map }: MapName, elements: readonly MapElement[]): NetlinkMessage {
  return message(MESSAGE.NEWSETELEM, {
    family,
    flags: FLAGS.CREATE | FLAGS.ACK,
    attributes: [
      [1, table],
      [2, map],
      [
        3,
        elements.map(
          ({ key, data }) =>
            [
              1,
              [
                [1, [[1, key]]],
                [2, [[1, data]]],
              ],
            ] as const,
        ),
      ],
    ],
  });
}

export function deleteElements({ family, table, map }: MapName, keys: readonly Uint8Array[]): NetlinkMessage {
  return message(MESSAGE.DELSETELEM, {
    family,
    flags: FLAGS.ACK,
    attributes: [
      [1, table],
      [2, map],
      [3, keys.map((key) => [1, [[1, [[1, key]]]]] as const)],
    ],
  });
}

export function dumpChains(family: number): NetlinkMessage {
  return message(MESSAGE.GETCHAIN, { family, flags: FLAGS.DUMP, attributes: [] });
}

/** Of one chain, or of every chain of the table. */
export function dumpRules({ family, table, chain }: TableName & { readonly chain?: string }): NetlinkMessage {
  return message(MESSAGE.GETRULE, {
    family,
    flags: FLAGS.DUMP,
    attributes: [
      [1, table],
      [2, chain],
    ],
  });
}

export function dumpElements({ family, table, map }: MapName): NetlinkMessage {
  return message(MESSAGE.GETSETELEM, {
    family,
    flags: FLAGS.DUMP,
    attributes: [
      [1, table],
      [2, map],
    ],
  });
}

export function elementsOf(messages: readonly ReceivedMessage[]): readonly MapElement[] {
  const value = (data: Buffer | undefined): Buffer =>
    Buffer.from(decodeAttributes(data ?? Buffer.alloc(0)).get(1) ?? Buffer.alloc(0));
  return messages.flatMap(({ type, payload }) => {
    if (type !== ((SUBSYSTEM << 8) | MESSAGE.NEWSETELEM)) return [];
    const list = decodeAttributes(payload.subarray(4)).get(3) ?? Buffer.alloc(0);
    return attributeList(list).map(([, element]) => {
      const parts = decodeAttributes(element);
      return { key: value(parts.get(1)), data: value(parts.get(2)) };
    });
  });
}

export interface BaseChain extends ChainName {
  readonly hook: number;
  readonly policy: number;
}

/** The base chains among what dumpChains brought. */
export function baseChainsOf(messages: readonly ReceivedMessage[]): readonly BaseChain[] {
  return messages.flatMap(({ type, payload }) => {
    if (type !== ((SUBSYSTEM << 8) | MESSAGE.NEWCHAIN)) return [];
    const attributes = decodeAttributes(payload.subarray(4));
    const hook = attributes.get(4);
    if (hook === undefined) return [];
    return {
      family: payload[0] ?? 0,
      table: text(attributes.get(1)),
      chain: text(attributes.get(3)),
      hook: decodeAttributes(hook).get(1)?.readUInt32BE(0) ?? -1,
      policy: attributes.get(5)?.readUInt32BE(0) ?? POLICY.ACCEPT,
    };
  });
}

export interface KnownRule {
  readonly chain: string;
  readonly handle: Buffer;
  readonly comment: string;
  /** Names of its expressions in order: "meta", "cmp", "immediate" ... */
  readonly expressions: readonly string[];
  /** The verdict code it ends with, where an expression sets one. */
  readonly verdict: number | undefined;
}

export function rulesOf(messages: readonly ReceivedMessage[]): readonly KnownRule[] {
  return messages.flatMap(({ type, payload }) => {
    if (type !== ((SUBSYSTEM << 8) | MESSAGE.NEWRULE)) return [];
    const attributes = new Map(attributeList(payload.subarray(4)));
    const handle = attributes.get(3);
    if (handle === undefined) return [];
    const list = attributeList(attributes.get(4) ?? Buffer.alloc(0)).map(([, each]) => decodeAttributes(each));
    return {
      chain: text(attributes.get(2)),
      handle: Buffer.from(handle),
      comment: text(attributes.get(7)?.subarray(2)),
      expressions: list.map((expression) => text(expression.get(1))),
      verdict: verdictOf(list.at(-1)),
    };
  });
}

function verdictOf(expression: ReadonlyMap<number, Buffer> | undefined): number | undefined {
  if (expression === undefined || text(expression.get(1)) !== "immediate") return undefined;
  const data = decodeAttributes(expression.get(2) ?? Buffer.alloc(0)).get(2);
  const verdict = data === undefined ? undefined : decodeAttributes(data).get(2);
  return verdict === undefined ? undefined : decodeAttributes(verdict).get(1)?.readInt32BE(0);
}
