// What this node runs, on disk: one file per task with its last status, so that a restarted agent knows its tasks before any
// manager answers. Files are replaced whole. Nothing is synced: what a power cut takes from here it has taken from the
// containers too, and managers hold what was reported. It knows nothing of what a task does.

import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { errorText } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import { Task } from "../proto/gen/objects.ts";
import { isId } from "../proto/model/ids.ts";
import { type WholeTask, wholeTask } from "../proto/model/objects.ts";

const SUFFIX = ".task";
/** Before the encoded task: "TSJ1", then the CRC-32 of what follows. */
const MAGIC = "TSJ1";
const HEADER_BYTES = 8;

/** The next thing to do for one file: write this, or take the file away. */
type Want = { readonly kind: "write"; readonly task: WholeTask } | { readonly kind: "remove" };

interface Line {
  next: Want | undefined;
  /** Settles when nothing is left to do; rejects when the last try failed. */
  running: Promise<void>;
}

export class Journal {
  readonly #dir: string;
  readonly #logger: Logger;
  /** Files with something under way. Invariant: at most one write per file at a time. */
  readonly #lines = new Map<string, Line>();

  constructor(options: { readonly dir: string; readonly logger: Logger }) {
    this.#dir = options.dir;
    this.#logger = options.logger;
  }

  /** Makes the folder and reads every task in it. A damaged file is told of and left out. */
  async load(): Promise<WholeTask[]> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const tasks: WholeTask[] = [];
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name);
      const id = name.slice(0, -SUFFIX.length);
      const task = name.endsWith(SUFFIX) && isId(id) ? decode(await readFile(path)) : undefined;
      if (task?.id === id) {
        tasks.push(task);
        continue;
      }
      if (name.endsWith(SUFFIX)) this.#logger.warn("a file of the journal is damaged and left out", { file: name });
      await rm(path, { force: true, recursive: true });
    }
    return tasks;
  }

  /** Writes the task, replacing what was written of it. Of several calls while one write goes on, only the newest is written. */
  put(task: WholeTask): Promise<void> {
    return this.#want(task.id, { kind: "write", task });
  }

  /** Like `put`, for a status that need not be waited for: a failure is told of, and the next status tries again. */
  note(task: WholeTask): void {
    this.put(task).catch((error: unknown) => {
      this.#logger.error("cannot write the journal", { task: task.id, error: errorText(error) });
    });
  }

  forget(taskId: string): Promise<void> {
    return this.#want(taskId, { kind: "remove" });
  }

  /** Settles when everything asked for was done or has failed. */
  async flush(): Promise<void> {
    while (this.#lines.size > 0) await Promise.allSettled([...this.#lines.values()].map((line) => line.running));
  }

  #want(id: string, want: Want): Promise<void> {
    const line = this.#lines.get(id);
    if (line !== undefined) {
      line.next = want;
      return line.running;
    }
    const fresh: Line = { next: want, running: Promise.resolve() };
    this.#lines.set(id, fresh);
    fresh.running = this.#work(id, fresh);
    return fresh.running;
  }

  async #work(id: string, line: Line): Promise<void> {
    try {
      for (let want = take(line); want !== undefined; want = take(line)) {
        try {
          await this.#apply(id, want);
        } catch (error) {
          // A newer wish gets its own try; the last one's failure is the answer.
          if (line.next === undefined) throw error;
        }
      }
    } finally {
      this.#lines.delete(id);
    }
  }

  async #apply(id: string, want: Want): Promise<void> {
    const path = join(this.#dir, id + SUFFIX);
    if (want.kind === "remove") {
      await rm(path, { force: true });
      return;
    }
    const draft = `${path}.tmp`;
    await writeFile(draft, encode(want.task), { mode: 0o600 });
    await rename(draft, path);
  }
}

function take(line: Line): Want | undefined {
  const want = line.next;
  line.next = undefined;
  return want;
}

function encode(task: WholeTask): Buffer {
  const body = Task.encode(task).finish();
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, "latin1");
  header.writeUInt32LE(crc32(body), MAGIC.length);
  return Buffer.concat([header, body]);
}

function decode(bytes: Buffer): WholeTask | undefined {
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) return undefined;
  const body = bytes.subarray(HEADER_BYTES);
  return crc32(body) === bytes.readUInt32LE(MAGIC.length) ? wholeTask(Task.decode(body)) : undefined;
}
