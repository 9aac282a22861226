// A backup of the cluster's state as one stream of bytes: a line that says what it is, a header, the saved state in chunks, and a
// digest over all of it. It is not encrypted, and holds the cluster's key and join tokens: treat it as a secret.

import { createHash } from "node:crypto";
import { SwarmError, errorText } from "../proto/base/errors.ts";

const MAGIC = Buffer.from("tsswarm backup\n");
const VERSION = 1;
/** Of one piece of the state on its way. */
const CHUNK_BYTES_MAX = 262_144;
const HEADER_BYTES_MAX = 65_536;
const STATE_BYTES_MAX = 1_073_741_824;
const DIGEST_BYTES = 32;

export interface BackupHeader {
  readonly clusterId: string;
  /** Index of the log whose state it is. */
  readonly index: number;
  readonly createdAtMs: number;
}

export interface Backup extends BackupHeader {
  /** As Store.restore takes it. */
  readonly state: Uint8Array;
}

/** Magic, header (length and JSON), chunks (length and bytes), a zero length, SHA-256 of everything before it. Lengths: 32 bits, big-endian. */
export function* encodeBackup(
  header: BackupHeader,
  pieces: Iterable<Uint8Array>,
): Generator<Uint8Array, void, undefined> {
  const digest = createHash("sha256");
  const hashed = (bytes: Uint8Array): Uint8Array => {
    digest.update(bytes);
    return bytes;
  };
  const { clusterId, createdAtMs, index } = header;
  const text = Buffer.from(JSON.stringify({ version: VERSION, clusterId, index, createdAtMs }));
  yield hashed(Buffer.concat([MAGIC, lengthOf(text), text]));
  for (const piece of pieces) {
    for (let from = 0; from < piece.byteLength; from += CHUNK_BYTES_MAX) {
      const chunk = piece.subarray(from, from + CHUNK_BYTES_MAX);
      yield hashed(Buffer.concat([lengthOf(chunk), chunk]));
    }
  }
  yield hashed(Buffer.alloc(4));
  yield digest.digest();
}

/** Throws InvalidArgument for bytes that are no backup, are cut short, were changed, or come from a newer version. */
export async function decodeBackup(bytes: AsyncIterable<Uint8Array>): Promise<Backup> {
  const input = new Input(bytes);
  if (!(await input.take(MAGIC.byteLength)).equals(MAGIC)) throw unusable("it is not a backup of tsswarm");
  const header = parseHeader(await input.take(await input.length(HEADER_BYTES_MAX)));
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const length = await input.length(CHUNK_BYTES_MAX);
    if (length === 0) break;
    total += length;
    if (total > STATE_BYTES_MAX) throw unusable(`it holds more than ${STATE_BYTES_MAX} bytes`);
    chunks.push(await input.take(length));
  }
  const expected = input.digest();
  if (!(await input.take(DIGEST_BYTES)).equals(expected)) throw unusable("it is damaged: its checksum does not match");
  if (!(await input.isOver())) throw unusable("there is more after its end");
  return { ...header, state: Buffer.concat(chunks) };
}

function parseHeader(text: Buffer): BackupHeader {
  let header: Partial<BackupHeader & { readonly version: number }>;
  try {
    header = JSON.parse(text.toString()) as typeof header;
  } catch (error) {
    throw unusable(`its header cannot be read: ${errorText(error)}`);
  }
  const { clusterId, createdAtMs, index, version } = header;
  if (version !== VERSION)
    throw unusable(`it is of version ${String(version)}, and this program reads version ${VERSION}; use a newer one`);
  if (typeof clusterId !== "string" || !Number.isSafeInteger(index) || !Number.isSafeInteger(createdAtMs))
    throw unusable("its header does not say which cluster it is of, and when it was made");
  return { clusterId, createdAtMs: createdAtMs as number, index: index as number };
}

/** Bytes taken piece by piece from a stream of chunks, and the digest of those taken. */
class Input {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #digest = createHash("sha256");
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.byteLength === 0 && !(await this.#fill())) throw unusable("it is cut short");
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.byteLength);
      missing -= part.byteLength;
      parts.push(part);
    }
    const taken = Buffer.concat(parts);
    this.#digest.update(taken);
    return taken;
  }

  async length(max: number): Promise<number> {
    const length = (await this.take(4)).readUInt32BE();
    if (length > max) throw unusable("it is damaged: a length in it is out of bounds");
    return length;
  }

  digest(): Buffer {
    return this.#digest.copy().digest();
  }

  async isOver(): Promise<boolean> {
    return this.#rest.byteLength === 0 && !(await this.#fill());
  }

  /** False at the end of the stream. */
  async #fill(): Promise<boolean> {
    for (;;) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      if (next.value.byteLength === 0) continue;
      this.#rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      return true;
    }
  }
}

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.byteLength);
  return length;
}

function unusable(why: string): SwarmError {
  return new SwarmError("InvalidArgument", `the backup cannot be used: ${why}`);
}
