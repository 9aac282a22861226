// The disk of one process: the machine's disk in memory, with time in front of every call and failures on order. What a killed
// process still waits for never comes, and may have been done or not.

import type { Disk, DiskFile, OpenMode } from "../../proto/base/disk.ts";
import type { Random } from "../../proto/base/random.ts";
import type { Loss, SimDisk } from "../support/sim-disk.ts";
import type { SimProcess } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";

/** Calls that change what is on the disk. */
export type SlowCall = "sync" | "write" | "rename" | "syncDir";

/** The state of a machine's disk beside what is on it. The faults change it while processes come and go. */
export interface DiskState {
  /** What one sync takes, about. */
  syncMs: number;
  /** No file can grow. */
  isFull: boolean;
  /** Calls of this name fail with EIO until there have been so many. */
  failing: { readonly call: SlowCall; left: number } | undefined;
  /** In the middle of the next call of this name the machine goes down, with this loss. */
  trap: { readonly call: SlowCall; readonly loss: Loss } | undefined;
}

export interface SlowDiskOptions {
  readonly disk: SimDisk;
  readonly state: DiskState;
  readonly process: SimProcess;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly onTrap: (loss: Loss) => void;
}

type CallName = keyof Disk | keyof DiskFile;

export class SlowDisk implements Disk {
  readonly #options: SlowDiskOptions;

  constructor(options: SlowDiskOptions) {
    this.#options = options;
  }

  makeDir(path: string): Promise<void> {
    return this.#call("makeDir", () => this.#options.disk.makeDir(path));
  }

  list(path: string): Promise<readonly string[]> {
    return this.#call("list", () => this.#options.disk.list(path));
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    const file = await this.#call("open", () => this.#options.disk.open(path, mode));
    return {
      size: () => this.#call("size", () => file.size()),
      read: (range) => this.#call("read", () => file.read(range)),
      write: (bytes, offset) => this.#call("write", () => this.#write(file, { bytes, offset })),
      sync: () => this.#call("sync", () => file.sync()),
      close: () => this.#call("close", () => file.close()),
    };
  }

  rename(move: { readonly from: string; readonly to: string }): Promise<void> {
    return this.#call("rename", () => this.#options.disk.rename(move));
  }

  remove(path: string): Promise<void> {
    return this.#call("remove", () => this.#options.disk.remove(path));
  }

  syncDir(path: string): Promise<void> {
    return this.#call("syncDir", () => this.#options.disk.syncDir(path));
  }

  async #write(file: DiskFile, write: { readonly bytes: Uint8Array; readonly offset: number }): Promise<void> {
    if (this.#options.state.isFull && write.offset + write.bytes.length > (await file.size()))
      throw Object.assign(new Error("ENOSPC: the simulated disk is full"), { code: "ENOSPC" });
    await file.write(write.bytes, write.offset);
  }

  async #call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    const { random, disk, state } = this.#options;
    // It may happen long before the answer comes, or just then.
    const isEarly = random.float() < 0.5;
    const settle = async (): Promise<() => T> => {
      const { failing } = state;
      if (failing?.call === name && failing.left > 0) {
        failing.left -= 1;
        if (failing.left === 0) state.failing = undefined;
        disk.arm({ call: 1, kind: "EIO", only: name });
      }
      try {
        const value = await action();
        return () => value;
      } catch (error) {
        return () => {
          throw error;
        };
      }
    };
    if (!this.#options.process.isAlive) return never();
    if (!isEarly) {
      await this.#pass(name);
      return (await settle())();
    }
    const outcome = await settle();
    await this.#pass(name);
    return outcome();
  }

  /** Settles when the call's time has passed; never, when the process is killed before. */
  #pass(name: CallName): Promise<void> {
    const { random, scheduler, state, process, onTrap } = this.#options;
    const { trap } = state;
    if (trap?.call === name) {
      state.trap = undefined;
      scheduler.after(0, () => process.run(() => onTrap(trap.loss)));
      return new Promise(() => undefined);
    }
    const isSlow = name === "sync" || name === "syncDir";
    // Nearly all other calls are served from memory.
    if (!isSlow && random.float() < 0.9 && process.isAlive && !process.isPaused) return Promise.resolve();
    const ms = isSlow ? state.syncMs * (0.2 + random.float() * 1.8) : random.float();
    return new Promise((resolve) => {
      scheduler.after(ms, () => process.run(resolve));
    });
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}
