// Netlink messages as bytes: headers, attributes, and reading them back. Pure; little-endian, as every machine we run on.

/** What an attribute holds: a u32, text (sent with a final NUL), bytes as they are, or attributes inside it. */
export type AttributeValue = number | string | Uint8Array | readonly Attribute[];
/** An absent value leaves the attribute out. */
export type Attribute = readonly [type: number, value: AttributeValue | undefined];

export interface NetlinkMessage {
  /** RTM_NEWLINK ..., or subsystem << 8 | message for nf_tables. */
  readonly type: number;
  readonly flags: number;
  /** The fixed header of the message's kind (ifinfomsg, nfgenmsg ...). */
  readonly header: Uint8Array;
  readonly attributes: readonly Attribute[];
}

export const FLAGS = {
  REQUEST: 1,
  ACK: 4,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
} as const;

const HEADER_BYTES = 16;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

function aligned(length: number): number {
  return (length + 3) & ~3;
}

export function u16be(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32be(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** "10.0.0.1" as four bytes. */
export function ipv4(text: string): Buffer {
  return Buffer.from(text.split(".").map(Number));
}

export function ipv4Text(bytes: Uint8Array): string {
  return [...bytes.subarray(0, 4)].join(".");
}

/** "02:42:0a:00:00:01" as six bytes. */
export function mac(text: string): Buffer {
  return Buffer.from(text.split(":").map((part) => Number.parseInt(part, 16)));
}

export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(
    attributes.flatMap(([type, value]) => (value === undefined ? [] : [encodeAttribute(type, value)])),
  );
}

function encodeAttribute(type: number, value: AttributeValue): Buffer {
  const nested = Array.isArray(value);
  const data = nested
    ? encodeAttributes(value as readonly Attribute[])
    : encodeValue(value as Exclude<AttributeValue, readonly Attribute[]>);
  const bytes = Buffer.alloc(aligned(4 + data.length));
  bytes.writeUInt16LE(4 + data.length, 0);
  bytes.writeUInt16LE(nested ? type | NESTED : type, 2);
  data.copy(bytes, 4);
  return bytes;
}

function encodeValue(value: number | string | Uint8Array): Buffer {
  if (typeof value === "number") {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    return bytes;
  }
  return typeof value === "string" ? Buffer.from(`${value}\0`) : Buffer.from(value);
}

/** One message with its sequence number, padded for the next. */
export function encodeMessage(message: NetlinkMessage, sequence: number): Buffer {
  const attributes = encodeAttributes(message.attributes);
  const length = HEADER_BYTES + message.header.length + attributes.length;
  const bytes = Buffer.alloc(aligned(length));
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(message.type, 4);
  bytes.writeUInt16LE(message.flags | FLAGS.REQUEST, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.set(message.header, HEADER_BYTES);
  attributes.copy(bytes, HEADER_BYTES + message.header.length);
  return bytes;
}

export interface ReceivedMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Fixed header and attributes. */
  readonly payload: Buffer;
}

/** The messages of one datagram. What is cut short is left out. */
export function decodeMessages(datagram: Buffer): readonly ReceivedMessage[] {
  const messages: ReceivedMessage[] = [];
  for (let at = 0; at + HEADER_BYTES <= datagram.length;) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > datagram.length) break;
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      payload: Buffer.from(datagram.subarray(at + HEADER_BYTES, at + length)),
    });
    at += aligned(length);
  }
  return messages;
}

/** Attributes by type; of several of one type the last. */
export function decodeAttributes(bytes: Buffer): ReadonlyMap<number, Buffer> {
  return new Map(attributeList(bytes));
}

/** Attributes in order, also those that share a type. */
export function attributeList(bytes: Buffer): readonly (readonly [number, Buffer])[] {
  const list: (readonly [number, Buffer])[] = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    list.push([bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + 4, at + length)]);
    at += aligned(length);
  }
  return list;
}

/** Text of an attribute, without its final NUL. */
export function text(bytes: Buffer | undefined): string {
  return bytes === undefined ? "" : bytes.toString("utf8").replace(/\0.*$/s, "");
}
