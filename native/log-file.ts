// Reads a container's log: over its rotated files from the oldest, on as it grows, and on again when the file is rotated under
// the reader. Lines are numbered by the shim, so what rotation or a full disk took away is told as lost, never passed over.

import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";

import type { Clock } from "../proto/base/clock.ts";
import { type LogLine, parseLogLine } from "./log-line.ts";

export type LogLineRecord =
  | LogLine
  /** So many lines are missing here. */
  | { readonly kind: "lost"; readonly lines: number };

export interface ReadLogsOptions {
  /** The file written to; older ones are beside it as ".1", ".2" ... */
  readonly path: string;
  /** Go on until `ended`. */
  readonly follow: boolean;
  /** Only so many of the last whole lines that match; undefined: all. */
  readonly tail: number | undefined;
  /** Unix time; 0: all. */
  readonly sinceMs: number;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly clock: Clock;
  /** True once nothing more will be written: the container's exit record is there, or the container is lost. */
  ended(): boolean;
}

/** The lines in the order in which they were written. A log that does not exist (yet) is empty. Rejects with the signal's reason. */
export async function* readLogs(
  options: ReadLogsOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLineRecord, void, undefined> {
  const changes = options.follow ? new Changes(options, signal) : undefined;
  const reader = new LogReader(options);
  try {
    await reader.begin();
    for (;;) {
      // Asked before reading: what was written until then is read below.
      const over = changes === undefined || options.ended();
      for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
        signal.throwIfAborted();
        yield* batch;
      }
      if (over) return;
      await changes.wait();
    }
  } finally {
    changes?.close();
    await reader.close();
  }
}

const CHUNK_BYTES = 64 * 1024;
/** Longer than any line the shim writes. */
const LINE_BYTES_MAX = 32 * 1024;
const ROTATED_MAX = 1000;
/** Longest wait between two looks: what the watch did not tell. */
const LOOK_MS = 1000;
const LOOK_UNWATCHED_MS = 200;

class LogReader {
  readonly #options: ReadLogsOptions;
  #file: LogFile | undefined;
  /** Number of the line expected next; 0 before the first. */
  #expected = 0;
  /** Whole lines that match and are still to be left out, for tail. */
  #skip = 0;

  constructor(options: ReadLogsOptions) {
    this.#options = options;
  }

  /** Finds where to begin. */
  async begin(): Promise<void> {
    const { tail } = this.#options;
    if (tail === undefined) return;
    const files = await openAll(this.#options.path);
    try {
      let total = 0;
      for (const file of [...files].reverse()) {
        total += await this.#count(file);
        this.#expected = file.first;
        if (total >= tail) break;
      }
      this.#skip = Math.max(0, total - tail);
    } finally {
      await closeAll(files);
    }
  }

  /** The next records; undefined when all that is written was read. */
  async next(): Promise<LogLineRecord[] | undefined> {
    for (;;) {
      this.#file ??= await openFrom(this.#options.path, this.#expected);
      if (this.#file === undefined) return undefined;
      // Looked at before reading: when it was replaced by then, nothing more is written to the one that is open.
      const replaced = await this.#file.replaced(this.#options.path);
      const lines = await this.#file.read();
      if (lines !== undefined) return this.#select(lines);
      if (!replaced) return undefined;
      await this.#file.close();
      this.#file = undefined;
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  #select(lines: readonly Buffer[]): LogLineRecord[] {
    const records: LogLineRecord[] = [];
    for (const bytes of lines) {
      const line = parseLogLine(bytes);
      if (line === undefined) continue;
      if (line.kind === "number") {
        const lost = line.next - this.#expected;
        if (this.#expected > 0 && lost > 0) records.push({ kind: "lost", lines: lost });
        this.#expected = line.next;
        continue;
      }
      this.#expected++;
      if (!this.#matches(line)) continue;
      if (this.#skip > 0) {
        if (!line.partial) this.#skip--;
        continue;
      }
      records.push(line);
    }
    return records;
  }

  #matches(line: LogLine): boolean {
    return (line.stderr ? this.#options.stderr : this.#options.stdout) && line.atUs >= this.#options.sinceMs * 1000;
  }

  /** Whole lines of a file that match. */
  async #count(file: LogFile): Promise<number> {
    let count = 0;
    for (let lines = await file.read(); lines !== undefined; lines = await file.read()) {
      for (const bytes of lines) {
        const line = parseLogLine(bytes);
        if (line?.kind === "line" && !line.partial && this.#matches(line)) count++;
      }
    }
    return count;
  }
}

/** One file, open, with the number of its first line. */
class LogFile {
  readonly first: number;
  readonly #handle: FileHandle;
  readonly #inode: number;
  readonly #chunk: Buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  #position = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(options: { readonly handle: FileHandle; readonly inode: number; readonly first: number }) {
    this.#handle = options.handle;
    this.#inode = options.inode;
    this.first = options.first;
  }

  /** Another file is at `path` by now. */
  async replaced(path: string): Promise<boolean> {
    return (await inodeOf(path)) !== this.#inode;
  }

  /** The next whole lines; undefined at the end of what is written. */
  async read(): Promise<Buffer[] | undefined> {
    const { bytesRead } = await this.#handle.read(this.#chunk, 0, CHUNK_BYTES, this.#position);
    if (bytesRead === 0) return undefined;
    this.#position += bytesRead;
    const bytes = Buffer.concat([this.#rest, this.#chunk.subarray(0, bytesRead)]);
    const lines: Buffer[] = [];
    let from = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
      lines.push(bytes.subarray(from, end));
      from = end + 1;
    }
    this.#rest = bytes.length - from > LINE_BYTES_MAX ? Buffer.alloc(0) : bytes.subarray(from);
    return lines;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** A file is "empty" until its first line tells its number. */
async function openOne(path: string): Promise<LogFile | "missing" | "empty"> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (isMissing(error)) return "missing";
    throw error;
  }
  const head = Buffer.alloc(32);
  const [{ ino }, { bytesRead }] = await Promise.all([handle.stat(), handle.read(head, 0, head.length, 0)]);
  const end = head.subarray(0, bytesRead).indexOf(0x0a);
  const line = end < 0 ? undefined : parseLogLine(head.subarray(0, end));
  if (line?.kind === "number") return new LogFile({ handle, inode: ino, first: line.next });
  await handle.close();
  return "empty";
}

/** All files, the oldest first. The caller closes them. */
async function openAll(path: string): Promise<LogFile[]> {
  const files = new Map<number, LogFile>();
  // From the newest: a file that is rotated meanwhile moves on in this direction, and is seen twice rather than missed.
  for (let index = 0; index < ROTATED_MAX; index++) {
    const file = await openOne(index === 0 ? path : `${path}.${index}`);
    if (file === "missing" && index > 0) break;
    if (file === "missing" || file === "empty") continue;
    if (files.has(file.first)) await file.close();
    else files.set(file.first, file);
  }
  return [...files.values()].sort((left, right) => left.first - right.first);
}

/** The file that holds line `expected`, or the oldest after it. Undefined when nothing was written from there on. */
async function openFrom(path: string, expected: number): Promise<LogFile | undefined> {
  const files = await openAll(path);
  const wanted = files.find((file) => file.first >= expected);
  await closeAll(files.filter((file) => file !== wanted));
  return wanted;
}

async function closeAll(files: readonly LogFile[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** Wakes whoever follows when something happens in the log's folder. */
class Changes {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #watcher: FSWatcher | undefined;
  #raised = false;
  #wake: (() => void) | undefined;

  constructor(options: ReadLogsOptions, signal: AbortSignal) {
    this.#clock = options.clock;
    this.#signal = signal;
    this.#watcher = tryWatch(dirname(options.path), () => {
      this.#raised = true;
      this.#wake?.();
    });
  }

  /** Settles at a change since the last wait, or after a while. Rejects with the signal's reason. */
  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      const ms = this.#watcher === undefined ? LOOK_UNWATCHED_MS : LOOK_MS;
      const settle = (): void => {
        this.#wake = undefined;
        this.#raised = false;
        cancel();
        this.#signal.removeEventListener("abort", fail);
        resolve();
      };
      const cancel = this.#clock.after(ms, settle);
      const fail = (): void => {
        this.#wake = undefined;
        cancel();
        reject(this.#signal.reason as Error);
      };
      this.#wake = settle;
      if (this.#signal.aborted) fail();
      else if (this.#raised) settle();
      else this.#signal.addEventListener("abort", fail, { once: true });
    });
  }

  close(): void {
    this.#watcher?.close();
  }
}

/** Machines bound the number of watches: without one, looking now and then does. */
function tryWatch(dir: string, onChange: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(dir, { persistent: false }, onChange);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch (error) {
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}
