// An image archive as it comes in: written to a file beside the store while its members are noted, so that they can then be
// read in any order. Compressed archives are stored plain.

import { open, type FileHandle } from "node:fs/promises";
import { decompress, TAR_LIMITS, TarReader, type TarEntry } from "../../native/index.ts";
import { abortable } from "../../proto/base/abort.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { bad, DOCUMENT_BYTES_MAX } from "./image-config.ts";

/** Members of an image archive: a few per layer. */
const MEMBERS_MAX = 50_000;
/** Symlinks followed from one member to another. */
const LINKS_MAX = 10;

/** Where a member's content lies in the archive's file, in bytes. */
export interface ArchivePart {
  readonly offset: number;
  readonly length: number;
}

/** Writes a stream to a new file. Answers its length in bytes. */
export async function spool(
  stream: AsyncIterable<Uint8Array>,
  target: { readonly path: string; readonly onBytes?: (bytes: Uint8Array) => void },
  signal: AbortSignal,
): Promise<number> {
  const file = await open(target.path, "wx", 0o600);
  const iterator = stream[Symbol.asyncIterator]();
  let length = 0;
  let ended = false;
  try {
    for (;;) {
      const next = await abortable(iterator.next(), signal);
      ended = next.done === true;
      if (next.done === true) return length;
      target.onBytes?.(next.value);
      await writeAll(file, next.value);
      length += next.value.length;
    }
  } finally {
    // A source that waits for its next byte would never settle its end: nobody waits for it.
    if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}

export class Archive {
  readonly path: string;
  readonly #members: ReadonlyMap<string, ArchivePart | { readonly link: string }>;

  private constructor(path: string, members: ReadonlyMap<string, ArchivePart | { readonly link: string }>) {
    this.path = path;
    this.#members = members;
  }

  /** Stores `stream` at `path`, which must not exist. Rejects with InvalidArgument when it is no whole tar. */
  static async receive(stream: AsyncIterable<Uint8Array>, path: string, signal: AbortSignal): Promise<Archive> {
    const members = new Map<string, ArchivePart | { readonly link: string }>();
    const note = (entry: TarEntry): void => {
      const name = memberName(entry.path);
      if (entry.kind === "file") {
        if (entry.sparse) throw bad("its archive holds a sparse member");
        members.set(name, { offset: entry.dataOffset, length: entry.sizeBytes });
      } else if (entry.kind === "hardlink") {
        members.set(name, { link: memberName(entry.linkPath) });
      } else if (entry.kind === "symlink") {
        members.set(name, { link: memberName(`${name}/../${entry.linkPath}`) });
      }
    };
    const sink = { entry: note, data: () => undefined, end: () => undefined };
    const reader = new TarReader(sink, { ...TAR_LIMITS, entriesMax: MEMBERS_MAX });
    const length = await spool(decompress(stream), { path, onBytes: (bytes) => reader.push(bytes) }, signal);
    reader.finish();
    if (length === 0) throw new SwarmError("InvalidArgument", "The image archive is empty.");
    return new Archive(path, members);
  }

  has(name: string): boolean {
    return this.#members.has(memberName(name));
  }

  /** Where a member lies. Throws InvalidArgument when there is none of that name. */
  find(name: string): ArchivePart {
    let at = memberName(name);
    for (let links = 0; links <= LINKS_MAX; links++) {
      const member = this.#members.get(at);
      if (member === undefined) break;
      if (!("link" in member)) return member;
      at = member.link;
    }
    throw bad(`its archive has no member ${JSON.stringify(name.slice(0, 200))}`);
  }

  /** A short member's content. */
  async read(name: string): Promise<Uint8Array> {
    const part = this.find(name);
    if (part.length > DOCUMENT_BYTES_MAX) {
      throw bad(`${JSON.stringify(name.slice(0, 200))} in its archive is longer than ${DOCUMENT_BYTES_MAX} bytes`);
    }
    const bytes = Buffer.alloc(part.length);
    const file = await open(this.path, "r");
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, part.offset + done);
        if (bytesRead === 0) throw new SwarmError("Internal", `${this.path} became shorter while it was read`);
        done += bytesRead;
      }
    } finally {
      await file.close();
    }
    return bytes;
  }
}

/** "./a//b/../c" as "a/c": archives name members in several ways. */
function memberName(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}
