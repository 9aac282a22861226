// A disk in memory that can end at any call, the way machines do: what was not synced is lost in part, torn at a sector, or
// comes back with a flipped bit; or calls fail with EIO or ENOSPC. A failed sync leaves pages readable that never reach the disk.

import type { Disk, DiskFile, OpenMode } from "../../proto/base/disk.ts";
import type { Random } from "../../proto/base/random.ts";

/** Smaller than a real one, so that small records are torn too. */
const SECTOR_BYTES = 64;

/** What a crash does to unsynced data. "keep": a killed process, nothing is lost. */
export const LOSSES = ["keep", "lose", "prefix", "torn", "flip"] as const;
export type Loss = (typeof LOSSES)[number];

export interface Fault {
  /** Number of the call, from 1, before whose effect it happens. */
  readonly call: number;
  readonly kind: "crash" | "EIO" | "ENOSPC";
  /** Only calls of this name fail; the first such call from `call` on. Absent: any. */
  readonly only?: keyof Disk | keyof DiskFile;
  /** It goes on failing. Absent: once. */
  readonly forever?: boolean;
}

interface Inode {
  /** What survives. */
  durable: Buffer;
  /** What reads see. */
  cached: Buffer;
  /** Writes since the last sync, in order. */
  dirty: { readonly offset: number; readonly bytes: Buffer }[];
}

type NameChange =
  | { readonly kind: "set"; readonly path: string; readonly inode: Inode }
  | { readonly kind: "delete"; readonly path: string };

export class SimDisk implements Disk {
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  /** Not yet synced, in order. */
  #nameChanges: NameChange[] = [];
  #folders = new Set<string>();
  #fault: Fault | undefined;
  #calls = 0;
  #crashed = false;
  /** Names of the calls, for tests that aim at one. */
  readonly history: string[] = [];

  /** Calls so far. */
  get calls(): number {
    return this.#calls;
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /** Files by path, as reads see them, for tests that look or change them; a change is durable. */
  get paths(): readonly string[] {
    return [...this.#names.keys()].sort();
  }

  peek(path: string): Buffer {
    return Buffer.from(this.#inode(path).cached);
  }

  poke(path: string, bytes: Uint8Array): void {
    const inode = this.#inode(path);
    inode.durable = Buffer.from(bytes);
    inode.cached = Buffer.from(bytes);
    inode.dirty = [];
  }

  /** Counts calls from 0 again and lets one of them fail. */
  arm(fault: Fault | undefined): void {
    this.#fault = fault;
    this.#calls = 0;
    this.history.length = 0;
  }

  /** The machine goes down, if it has not yet, and comes up again with what the loss leaves. */
  restart(loss: Loss, random: Random): void {
    this.#crashed = false;
    this.#fault = undefined;
    if (loss === "keep") return;
    const kept = loss === "lose" ? 0 : random.int(0, this.#nameChanges.length + 1);
    for (const change of this.#nameChanges.slice(0, kept)) apply(this.#durableNames, change);
    this.#nameChanges = [];
    this.#names = new Map(this.#durableNames);
    for (const inode of new Set(this.#names.values())) {
      for (const write of survivors(inode, loss, random)) inode.durable = overwrite(inode.durable, write);
      inode.cached = Buffer.from(inode.durable);
      inode.dirty = [];
    }
  }

  async makeDir(path: string): Promise<void> {
    await this.#call("makeDir");
    this.#folders.add(path);
  }

  async list(path: string): Promise<readonly string[]> {
    await this.#call("list");
    return this.paths
      .filter((each) => each.startsWith(`${path}/`) && !each.slice(path.length + 1).includes("/"))
      .map((each) => each.slice(path.length + 1));
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    await this.#call("open");
    if (mode === "create") {
      if (this.#names.has(path)) throw failure("EEXIST", path);
      const inode: Inode = { durable: Buffer.alloc(0), cached: Buffer.alloc(0), dirty: [] };
      this.#change({ kind: "set", path, inode });
    }
    return this.#file(this.#inode(path));
  }

  async rename({ from, to }: { readonly from: string; readonly to: string }): Promise<void> {
    await this.#call("rename");
    const inode = this.#inode(from);
    this.#change({ kind: "set", path: to, inode });
    this.#change({ kind: "delete", path: from });
  }

  async remove(path: string): Promise<void> {
    await this.#call("remove");
    if (this.#names.has(path)) this.#change({ kind: "delete", path });
  }

  async syncDir(path: string): Promise<void> {
    await this.#call("syncDir");
    const inside = (change: NameChange): boolean => change.path.startsWith(`${path}/`);
    for (const change of this.#nameChanges.filter(inside)) apply(this.#durableNames, change);
    this.#nameChanges = this.#nameChanges.filter((change) => !inside(change));
  }

  #file(inode: Inode): DiskFile {
    return {
      size: async () => {
        await this.#call("size");
        return inode.cached.length;
      },
      read: async ({ offset, length }) => {
        await this.#call("read");
        return Buffer.from(inode.cached.subarray(offset, offset + length));
      },
      write: async (bytes, offset) => {
        await this.#call("write");
        const write = { offset, bytes: Buffer.from(bytes) };
        inode.dirty.push(write);
        inode.cached = overwrite(inode.cached, write);
      },
      sync: async () => {
        try {
          await this.#call("sync");
        } catch (error) {
          // The kernel marks the pages clean: they are read as written and never reach the disk.
          if (!this.#crashed) inode.dirty = [];
          throw error;
        }
        for (const write of inode.dirty) inode.durable = overwrite(inode.durable, write);
        inode.dirty = [];
      },
      close: () => this.#call("close"),
    };
  }

  #change(change: NameChange): void {
    apply(this.#names, change);
    this.#nameChanges.push(change);
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw failure("ENOENT", path);
    return inode;
  }

  async #call(name: keyof Disk | keyof DiskFile): Promise<void> {
    // Everything takes a turn, as on a real disk.
    await Promise.resolve();
    if (this.#crashed) throw failure("ECRASH", "the machine is down");
    this.#calls += 1;
    this.history.push(name);
    const fault = this.#fault;
    if (fault === undefined || this.#calls < fault.call || (fault.only !== undefined && fault.only !== name)) return;
    if (fault.forever !== true) this.#fault = undefined;
    if (fault.kind === "crash") this.#crashed = true;
    throw failure(fault.kind === "crash" ? "ECRASH" : fault.kind, name);
  }
}

function apply(names: Map<string, Inode>, change: NameChange): void {
  if (change.kind === "set") names.set(change.path, change.inode);
  else names.delete(change.path);
}

/** Which unsynced writes reach the disk after all. */
function survivors(inode: Inode, loss: Loss, random: Random): readonly { offset: number; bytes: Buffer }[] {
  switch (loss) {
    case "keep":
      return inode.dirty;
    case "lose":
      return [];
    case "prefix":
      return inode.dirty.slice(0, random.int(0, inode.dirty.length + 1));
    case "torn":
      return inode.dirty.flatMap((write) => sectors(write)).filter(() => random.float() < 0.5);
    case "flip":
      return inode.dirty.map((write) => flipped(inode.durable, write, random));
  }
}

function sectors(write: { readonly offset: number; readonly bytes: Buffer }): { offset: number; bytes: Buffer }[] {
  const parts: { offset: number; bytes: Buffer }[] = [];
  for (let at = 0; at < write.bytes.length;) {
    const next = Math.min(write.bytes.length, at + SECTOR_BYTES - ((write.offset + at) % SECTOR_BYTES));
    parts.push({ offset: write.offset + at, bytes: write.bytes.subarray(at, next) });
    at = next;
  }
  return parts;
}

/** One bit wrong among the bytes that differ from what was durable. */
function flipped(
  durable: Buffer,
  write: { readonly offset: number; readonly bytes: Buffer },
  random: Random,
): { offset: number; bytes: Buffer } {
  const bytes = Buffer.from(write.bytes);
  const changed = [...bytes.keys()].filter((at) => bytes[at] !== (durable[write.offset + at] ?? 0));
  const at = changed[random.int(0, Math.max(1, changed.length))];
  if (at !== undefined) bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.int(0, 8)), at);
  return { offset: write.offset, bytes };
}

function overwrite(content: Buffer, write: { readonly offset: number; readonly bytes: Buffer }): Buffer {
  const size = Math.max(content.length, write.offset + write.bytes.length);
  const next = Buffer.alloc(size);
  content.copy(next);
  write.bytes.copy(next, write.offset);
  return next;
}

function failure(code: string, detail: string): Error {
  return Object.assign(new Error(`${code}: ${detail}`), { code });
}
