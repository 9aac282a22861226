// Raft's messages between managers over real TLS connections on loopback.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { type Message, message } from "raft-ts";
import { abortable } from "../../../proto/base/abort.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { RaftService } from "../../../proto/gen/raft.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { type RpcChannel, tlsChannel } from "../../../proto/rpc/channel.ts";
import type { Handlers } from "../../../proto/rpc/methods.ts";
import { RpcServer } from "../../../proto/rpc/serve.ts";
import { callerOf } from "../../../proto/rpc/tls-caller.ts";
import { type NodeRoleName, clientCredentials, serverCredentials } from "../../../proto/rpc/tls.ts";
import { GrpcTransport } from "../../../manager/replication/grpc/grpc-transport.ts";
import { Outbox } from "../../../manager/replication/grpc/outbox.ts";
import { raftHandlers } from "../../../manager/replication/grpc/raft-handlers.ts";
import { type Member, NO_MEMBERSHIP } from "../../../manager/replication/membership.ts";
import type { IncomingSnapshot, TransportReceiver } from "../../../manager/replication/transport.ts";
import { type ClusterCa, makeClusterCa } from "../../support/cluster-ca.ts";
import { eventually } from "../../support/eventually.ts";

const ACCESS = { messages: ["manager"], snapshot: ["manager"] } as const;

class End implements TransportReceiver {
  readonly got: Message[] = [];
  readonly lost: number[] = [];
  readonly introductions: Member[] = [];
  readonly removedIds = new Set<number>();
  wasRemoved = false;
  cannotDial = false;
  dials = 0;
  /** Timers of a snapshot that are armed. */
  progressTimers = 0;
  snapshot: { readonly index: number; readonly bytes: number; readonly digest: string } | undefined;
  snapshotChunks = 0;
  /** Why the last snapshot was not taken. */
  snapshotFailure: unknown;
  transport: GrpcTransport | undefined;
  member: Member = { raftId: 0, nodeId: "", addr: "" };
  #server: RpcServer | undefined;
  #dial: ((addr: string) => RpcChannel) | undefined;

  readonly #ca: ClusterCa;
  constructor(ca: ClusterCa) {
    this.#ca = ca;
  }

  /** Listens, on the same port again when it did before. */
  async open(
    raftId: number,
    options: {
      readonly role?: NodeRoleName;
      readonly clusterId?: string;
      readonly messages?: Handlers<typeof RaftService>["messages"];
    } = {},
  ): Promise<void> {
    const nodeId = `node-${raftId}`;
    const tls = await this.#ca.certify({ role: options.role ?? "manager", nodeId });
    const server = new RpcServer({ logger: silentLogger, callerOf });
    const port = Number(this.member.addr.split(":")[1] ?? 0);
    const late = {
      transport: {
        admit: (hello) => this.transport?.admit(hello),
        prove: (member) => this.transport?.prove(member),
        opened: (id) => this.transport?.opened(id) ?? (() => undefined),
        heard: (id) => this.transport?.heard(id),
      } satisfies Pick<GrpcTransport, "admit" | "prove" | "opened" | "heard">,
    };
    const handlers = raftHandlers({ ...late, receiver: this, clock: systemClock, logger: silentLogger });
    server.add(RaftService, { ...handlers, ...(options.messages && { messages: options.messages }) }, ACCESS);
    const listening = await server.listenTls(
      `127.0.0.1:${port}`,
      serverCredentials(() => tls),
    );
    this.#server = server;
    this.member = { raftId, nodeId, addr: `127.0.0.1:${listening}` };
    this.#dial = (addr) => tlsChannel(addr, clientCredentials(tls));
    this.transport ??= new GrpcTransport({
      self: { ...this.member, clusterId: options.clusterId ?? this.#ca.clusterId },
      receiver: this,
      dial: (addr) => this.#connect(addr),
      clock: { ...systemClock, after: (ms, action) => this.#after(ms, action) },
      random: seededRandom(raftId),
      logger: silentLogger,
    });
  }

  /** A connection of its own, as this node. */
  channelTo({ addr }: Member): RpcChannel {
    return this.#dial?.(addr) ?? assert.fail("it is not open");
  }

  async stopListening(graceMs = 0): Promise<void> {
    await this.#server?.close(graceMs);
  }

  async close(): Promise<void> {
    this.transport?.close();
    await this.stopListening();
  }

  receive(messages: readonly Message[]): void {
    this.got.push(...messages);
  }
  async receiveSnapshot(snapshot: IncomingSnapshot): Promise<void> {
    let bytes = 0;
    const hash = createHash("sha256");
    try {
      for await (const chunk of snapshot.chunks) {
        bytes += chunk.length;
        hash.update(chunk);
        this.snapshotChunks += 1;
      }
    } catch (error) {
      this.snapshotFailure = error;
      throw error;
    }
    this.snapshot = { index: snapshot.message.snapshot?.index ?? 0, bytes, digest: hash.digest("hex") };
  }
  unreachable(id: number): void {
    this.lost.push(id);
  }
  removed(): void {
    this.wasRemoved = true;
  }
  isRemoved(id: number): boolean {
    return this.removedIds.has(id);
  }
  introduced(member: Member): void {
    this.introductions.push(member);
  }

  #after(ms: number, action: () => void): () => void {
    if (ms !== 30_000) return systemClock.after(ms, action);
    this.progressTimers += 1;
    let isArmed = true;
    const cancel = systemClock.after(ms, action);
    return () => {
      cancel();
      if (isArmed) this.progressTimers -= 1;
      isArmed = false;
    };
  }

  #connect(addr: string): RpcChannel {
    this.dials += 1;
    return this.cannotDial ? assert.fail("no certificate") : this.channelTo({ ...this.member, addr });
  }
}

async function withPair(
  body: (ends: { readonly a: End; readonly b: End }) => Promise<void>,
  options: Parameters<End["open"]>[1] = {},
): Promise<void> {
  const ca = await makeClusterCa({ seed: 3 });
  const a = new End(ca);
  const b = new End(ca);
  try {
    await a.open(1, options);
    await b.open(2);
    await body({ a, b });
  } finally {
    await a.close();
    await b.close();
  }
}

function heartbeat(index: number): Message {
  return message({ type: "heartbeat", from: 1, to: 2, term: 3, commit: index });
}

/** Sends until one arrives: before the stream is open, messages are dropped and told of. */
async function untilConnected(a: End, b: End): Promise<void> {
  await eventually(() => {
    a.transport?.send([heartbeat(0)]);
    return b.got.length > 0;
  });
  b.got.length = 0;
}

/** Whether the transport took the message; a loss is told a microtask later. */
async function isTaken(end: End, sent: Message): Promise<boolean> {
  end.lost.length = 0;
  end.transport?.send([sent]);
  await Promise.resolve();
  return end.lost.length === 0;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("messages arrive in their order, and the receiver knows who and where the sender is", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    await untilConnected(a, b);
    const sent = Array.from({ length: 500 }, (_, index) => heartbeat(index + 1));
    a.transport?.send(sent);
    await eventually(() => b.got.filter((each) => each.commit > 0).length === sent.length);
    assert.deepEqual(
      b.got.filter((each) => each.commit > 0),
      sent,
    );
    assert.deepEqual(b.introductions[0], a.member);
    assert.notEqual(b.transport?.lastHeardMs(1), undefined);
  });
});

test("a stream is opened again when the peer is back, and what was lost is told", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    await untilConnected(a, b);
    await b.stopListening();
    await eventually(() => {
      a.transport?.send([heartbeat(1)]);
      return a.lost.includes(2);
    });
    assert.equal(b.transport?.lastHeardMs(1), undefined);
    b.got.length = 0;
    await b.open(2);
    await untilConnected(a, b);
  });
});

test("a removed member is told so, and no message of it is taken", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    await untilConnected(a, b);
    b.removedIds.add(1);
    await eventually(() => a.wasRemoved);
    b.got.length = 0;
    a.transport?.send([heartbeat(5)]);
    await eventually(() => a.lost.length > 1);
    assert.deepEqual(b.got, []);
  });
});

for (const [what, options] of Object.entries({
  "a worker": { role: "worker" } as const,
  "a manager of another cluster": { clusterId: "another" },
})) {
  test(`${what} cannot send messages of Raft`, async () => {
    await withPair(async ({ a, b }) => {
      a.transport?.setPeers([b.member]);
      await eventually(() => {
        a.transport?.send([heartbeat(1)]);
        return a.lost.length > 2;
      });
      assert.deepEqual(b.got, []);
      assert.deepEqual(b.introductions, []);
    }, options);
  });
}

test("a node cannot speak as a member that another node is", async () => {
  await withPair(async ({ a, b }) => {
    b.transport?.setPeers([{ ...a.member, nodeId: "somebody-else" }]);
    a.transport?.setPeers([b.member]);
    await eventually(() => a.lost.length > 2);
    a.transport?.send([heartbeat(1)]);
    assert.deepEqual(b.introductions, []);
    assert.deepEqual(b.got, []);
  });
});

const SNAP_REF = { index: 77, term: 3, conf: NO_MEMBERSHIP.conf, data: new Uint8Array(0) };
const SNAP = message({ type: "snap", from: 1, to: 2, term: 3, snapshot: SNAP_REF });

test("a snapshot arrives whole with its place in the log, and one that fails midway is told as lost", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    const pieces = Array.from({ length: 20 }, (_, index) => new Uint8Array(262_144).fill(index + 1));
    const chunks = async function* (fails: boolean): AsyncGenerator<Uint8Array, void, undefined> {
      for (const piece of pieces) yield await Promise.resolve(piece);
      if (fails) throw new Error("the disk does not read");
    };
    const { signal } = new AbortController();
    const send = (fails: boolean): Promise<boolean> | undefined =>
      a.transport?.sendSnapshot({ message: SNAP, membership: NO_MEMBERSHIP, chunks: chunks(fails) }, signal);
    assert.equal(await send(false), true);
    const digest = createHash("sha256").update(Buffer.concat(pieces)).digest("hex");
    assert.deepEqual(b.snapshot, { index: 77, bytes: 20 * 262_144, digest });
    b.snapshot = undefined;
    assert.equal(await send(true), false);
    assert.equal(b.snapshot, undefined);
  });
});

test("a snapshot that is given up midway is lost at both ends, and no faster than it is taken is it read", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    const giveUp = new AbortController();
    let read = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for (;;) {
        read += 1;
        if (read === 20) giveUp.abort(new SwarmError("Cancelled", "leadership was lost"));
        yield await Promise.resolve(new Uint8Array(262_144));
      }
    };
    const snapshot = { message: SNAP, membership: NO_MEMBERSHIP, chunks: endless() };
    assert.equal(await a.transport?.sendSnapshot(snapshot, giveUp.signal), false);
    await eventually(() => b.snapshotFailure !== undefined);
    assert.ok(read < 40, `${read} chunks were read after all`);
    assert.equal(a.progressTimers, 0);
    assert.equal(b.snapshot, undefined);
  });
});

test("a part of a snapshot is not taken for all of it, though every chunk of the part has arrived", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    const giveUp = new AbortController();
    const part = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for (let count = 0; count < 3; count += 1) yield await Promise.resolve(new Uint8Array(9));
      await abortable(new Promise<never>(() => undefined), giveUp.signal);
    };
    const sent = a.transport?.sendSnapshot({ message: SNAP, membership: NO_MEMBERSHIP, chunks: part() }, giveUp.signal);
    await eventually(() => b.snapshotChunks === 3);
    giveUp.abort(new SwarmError("Cancelled", "leadership was lost"));
    assert.equal(await sent, false);
    await eventually(() => b.snapshotFailure !== undefined || b.snapshot !== undefined);
    assert.equal(b.snapshot, undefined);
  });
});

test("a snapshot for a member that was here before is not taken, and one that nobody can be dialled for is told as lost", async () => {
  await withPair(async ({ a, b }) => {
    const chunks = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      yield await Promise.resolve(new Uint8Array(9));
    };
    const { signal } = new AbortController();
    const send = (to: number): Promise<boolean> | undefined => {
      return a.transport?.sendSnapshot(
        { message: { ...SNAP, to }, membership: NO_MEMBERSHIP, chunks: chunks() },
        signal,
      );
    };
    a.transport?.setPeers([b.member, { ...b.member, raftId: 7 }]);
    assert.equal(await send(7), false);
    assert.equal(b.snapshot, undefined);
    a.cannotDial = true;
    assert.equal(await send(2), false);
    a.cannotDial = false;
    assert.equal(await send(2), true);
  });
});

test("a peer that takes nothing costs a bounded amount of memory, and what is beyond is told as lost", async () => {
  await withPair(async ({ a, b }) => {
    await b.stopListening();
    await b.open(2, {
      // Says hello, and then reads no more.
      messages: async function* (frames, { signal }) {
        await frames[Symbol.asyncIterator]().next();
        yield {};
        await abortable(new Promise<never>(() => undefined), signal);
      },
    });
    a.transport?.setPeers([b.member]);
    const entry = { term: 3, index: 6, type: 0, data: new Uint8Array(1_048_576) } as const;
    const large = message({ type: "app", from: 1, to: 2, term: 3, index: 5, entries: [entry] });
    // Nothing is taken until the stream is open; from then on a loss means that the queue is full.
    while (!(await isTaken(a, heartbeat(0)))) await turn();
    let sent = 0;
    while (await isTaken(a, large)) {
      sent += 1;
      await turn();
    }
    // The queue's 64 MiB, the 16 frames that a stream of Node holds, and what fits the connection.
    assert.ok(sent >= 63 && sent <= 84, `${sent} MiB were taken`);
  });
});

test("a listener that stops ends its quiet streams at once, and does not wait for their next frame", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    await untilConnected(a, b);
    const before = performance.now();
    await b.stopListening(8_000);
    // A stream that has nothing to say has a frame every second.
    assert.ok(performance.now() - before < 700);
    await eventually(() => b.transport?.lastHeardMs(1) === undefined);
  });
});

test("a frame that cannot be read ends its stream and nothing else", async () => {
  await withPair(async ({ a, b }) => {
    const { signal } = new AbortController();
    const channel = a.channelTo(b.member);
    const { messages } = RaftService;
    const garbage = { ...RaftService, messages: { ...messages, requestSerialize: () => Buffer.from([0xff, 0xff, 7]) } };
    const frames = async function* (): AsyncGenerator<never, void, undefined> {
      yield await Promise.resolve({} as never);
      await abortable(new Promise<never>(() => undefined), signal);
    };
    try {
      const acks = createClient(garbage, channel).messages(frames(), { signal });
      await assert.rejects(acks[Symbol.asyncIterator]().next(), SwarmError);
    } finally {
      channel.close();
    }
    assert.deepEqual(b.introductions, []);
    a.transport?.setPeers([b.member]);
    await untilConnected(a, b);
  });
});

test("a message in another member's name is dropped, and the others of its frame are taken", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([b.member]);
    await untilConnected(a, b);
    a.transport?.send([{ ...heartbeat(4), from: 9 }, heartbeat(5)]);
    await eventually(() => b.got.some((each) => each.commit === 5));
    assert.ok(b.got.every((each) => each.from === 1));
  });
});

test("a stream for a member that is at this address no longer is refused", async () => {
  await withPair(async ({ a, b }) => {
    a.transport?.setPeers([{ ...b.member, raftId: 5 }]);
    await eventually(() => a.lost.length > 1);
    assert.deepEqual(b.introductions, []);
  });
});

test("a stream that cannot even be dialled is tried again, until it can", async () => {
  await withPair(async ({ a, b }) => {
    a.cannotDial = true;
    a.transport?.setPeers([b.member]);
    await eventually(() => a.dials >= 3);
    a.cannotDial = false;
    await untilConnected(a, b);
    a.transport?.close();
    const { dials } = a;
    await eventually(() => b.transport?.lastHeardMs(1) === undefined);
    assert.equal(a.dials, dials);
  });
});

test("an append without entries gives way to a later one that tells at least as much, and to nothing else", () => {
  const bare = message({ type: "app", from: 1, to: 2, term: 3, index: 5, commit: 4 });
  const kept = (next: Message): readonly Message[] => {
    const outbox = new Outbox();
    outbox.add(bare);
    assert.equal(outbox.canWait, true);
    outbox.add(next);
    return outbox.take();
  };
  const entry = { term: 3, index: 6, type: 0, data: new Uint8Array(1) } as const;
  const fuller = message({ type: "app", from: 1, to: 2, term: 3, index: 5, commit: 5, entries: [entry] });
  assert.deepEqual(kept(fuller), [fuller]);
  for (const other of [heartbeat(9), { ...fuller, term: 4 }, { ...fuller, index: 4 }, { ...fuller, commit: 3 }])
    assert.deepEqual(kept(other), [bare, other]);
});
