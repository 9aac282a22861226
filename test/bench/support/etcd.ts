// Three etcd members of Debian's package on loopback, with etcd's default timeouts: the peer of the benches about managers. Driven
// over gRPC as ours are, from this same process.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { Client, credentials } from "@grpc/grpc-js";
import { systemClock } from "../../../proto/base/clock.ts";

const MEMBERS = [1, 2, 3] as const;
const POLL_MS = 20;
const PUT_WITHIN_MS = 2_000;
const READY_WITHIN_MS = 30_000;
/** Field of etcd's StatusResponse that holds the leader's id, of its header, and of the header's member id. */
const STATUS_LEADER = 4;
const STATUS_HEADER = 1;
const HEADER_MEMBER = 2;

interface Member {
  readonly number: number;
  readonly client: Client;
  process: ChildProcess;
}

export class EtcdGroup {
  readonly #dir: string;
  readonly #members: Member[] = [];

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Runs the body with a group of three that has a leader. Everything is gone afterwards. */
  static async with<T>(body: (etcd: EtcdGroup) => Promise<T>, signal: AbortSignal): Promise<T> {
    const group = new EtcdGroup(mkdtempSync(join(tmpdir(), "tsswarm-bench-etcd-")));
    try {
      for (const number of MEMBERS) {
        const client = new Client(`127.0.0.1:${clientPort(number)}`, credentials.createInsecure());
        group.#members.push({ number, client, process: group.#spawn(number) });
      }
      await group.untilReady(signal);
      return await body(group);
    } finally {
      await group.#close();
    }
  }

  /** Settles when every member knows the same leader and takes a write. */
  async untilReady(signal: AbortSignal): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + READY_WITHIN_MS;
    while (systemClock.monotonicMs() < deadlineMs) {
      const puts = await Promise.allSettled(this.#members.map((member) => put(member.client, "ready")));
      if (puts.every((each) => each.status === "fulfilled")) return;
      await systemClock.sleep(POLL_MS, signal);
    }
    throw new Error("the three etcd members do not take writes; is Debian's etcd-server installed?");
  }

  /** Puts per second at the leader: `count` values of 512 bytes, so many at a time. */
  async putsPerSecond({ count, atATime }: { readonly count: number; readonly atATime: number }): Promise<number> {
    const { client } = await this.#leader();
    const startedMs = systemClock.monotonicMs();
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < count) await put(client, `key-${next++}`);
    };
    await Promise.all(Array.from({ length: atATime }, work));
    return (count * 1_000) / (systemClock.monotonicMs() - startedMs);
  }

  /** Kills the leader with SIGKILL and tries writes at another member: milliseconds until one is accepted. Starts it again. */
  async failover(signal: AbortSignal): Promise<number> {
    const leader = await this.#leader();
    const other = this.#members.find((member) => member !== leader);
    if (other === undefined) throw new Error("etcd has one member only");
    const startedMs = systemClock.monotonicMs();
    leader.process.kill("SIGKILL");
    for (;;) {
      signal.throwIfAborted();
      const [result] = await Promise.allSettled([put(other.client, "after")]);
      if (result.status === "fulfilled") break;
      await systemClock.sleep(10, signal);
    }
    const tookMs = systemClock.monotonicMs() - startedMs;
    leader.process = this.#spawn(leader.number);
    await this.untilReady(signal);
    return tookMs;
  }

  async #leader(): Promise<Member> {
    for (const member of this.#members) {
      const status = await request(member.client, "/etcdserverpb.Maintenance/Status", new Uint8Array());
      const { leader, self } = readStatus(status);
      if (leader !== 0n && leader === self) return member;
    }
    throw new Error("no etcd member says that it leads");
  }

  #spawn(number: number): ChildProcess {
    const peers = MEMBERS.map((each) => `m${each}=http://127.0.0.1:${peerPort(each)}`).join(",");
    const flags = {
      name: `m${number}`,
      "data-dir": join(this.#dir, `m${number}`),
      "listen-client-urls": `http://127.0.0.1:${clientPort(number)}`,
      "advertise-client-urls": `http://127.0.0.1:${clientPort(number)}`,
      "listen-peer-urls": `http://127.0.0.1:${peerPort(number)}`,
      "initial-advertise-peer-urls": `http://127.0.0.1:${peerPort(number)}`,
      "initial-cluster": peers,
      "log-level": "error",
    };
    const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn("etcd", words, { stdio: "ignore" });
    child.on("error", () => undefined);
    return child;
  }

  async #close(): Promise<void> {
    for (const { client, process } of this.#members) {
      client.close();
      const isOver = process.exitCode !== null || process.signalCode !== null || process.pid === undefined;
      const ended = isOver ? Promise.resolve() : new Promise((resolve) => process.once("exit", resolve));
      process.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function clientPort(number: number): number {
  return 20_379 + number * 1_000;
}

function peerPort(number: number): number {
  return 20_380 + number * 1_000;
}

const VALUE = Buffer.alloc(512, "v");

async function put(client: Client, key: string): Promise<void> {
  const message = new BinaryWriter().uint32(10).bytes(Buffer.from(key)).uint32(18).bytes(VALUE).finish();
  await request(client, "/etcdserverpb.KV/Put", message);
}

function request(client: Client, path: string, message: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      (value: Uint8Array) => Buffer.from(value),
      (value: Buffer): Uint8Array => value,
      message,
      { deadline: systemClock.now() + PUT_WITHIN_MS },
      (error, response) => {
        if (error === null && response !== undefined) resolve(response);
        else reject(error ?? new Error("etcd gave no answer"));
      },
    );
  });
}

function readStatus(bytes: Uint8Array): { readonly leader: bigint; readonly self: bigint } {
  const found = { leader: 0n, self: 0n };
  readFields(bytes, (field, reader) => {
    if (field === STATUS_LEADER) found.leader = BigInt(reader.uint64());
    else if (field === STATUS_HEADER)
      readFields(reader.bytes(), (inner, header) => {
        if (inner !== HEADER_MEMBER) return false;
        found.self = BigInt(header.uint64());
        return true;
      });
    else return false;
    return true;
  });
  return found;
}

/** Hands over each field; one that is not taken is skipped. */
function readFields(bytes: Uint8Array, take: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (!take(field, reader)) reader.skip(type, field);
  }
}
