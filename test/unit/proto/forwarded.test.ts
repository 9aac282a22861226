// Calls in the name of another, over TLS on loopback: who may make them, and what the other end is told.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Metadata } from "@grpc/grpc-js";
import { abortable } from "../../../proto/base/abort.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import {
  AssignmentsMessage,
  DispatcherService,
  HeartbeatResponse,
  SessionMessage,
  UpdateTaskStatusResponse,
} from "../../../proto/gen/dispatcher.ts";
import type { StreamFrame } from "../../../proto/gen/streams.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import type { CallContext, Caller } from "../../../proto/rpc/caller.ts";
import { type RpcChannel, tlsChannel } from "../../../proto/rpc/channel.ts";
import { headersFor, originalCaller } from "../../../proto/rpc/forwarded.ts";
import type { Client, Handlers } from "../../../proto/rpc/methods.ts";
import { RpcServer } from "../../../proto/rpc/serve.ts";
import { callerOf } from "../../../proto/rpc/tls-caller.ts";
import { anonymousCredentials, clientCredentials, serverCredentials } from "../../../proto/rpc/tls.ts";
import { makeClusterCa } from "../../support/cluster-ca.ts";
import { eventually } from "../../support/eventually.ts";

type Door = Client<typeof DispatcherService>;

const WORKER: Caller = { kind: "node", nodeId: "w1", role: "worker", clusterId: "c", addr: "10.0.0.7:1" };
const MANAGER: Caller = { ...WORKER, nodeId: "m1", role: "manager" };
const ACCESS = {
  session: ["worker"],
  heartbeat: ["local", "worker"],
  updateTaskStatus: ["anonymous"],
  assignments: ["worker"],
  stream: ["local"],
} as const;

interface Ends {
  readonly manager: Door;
  readonly worker: Door;
  readonly nobody: Door;
  /** What the handlers were told, in order. */
  readonly told: readonly CallContext[];
}

async function withDoors(body: (ends: Ends) => Promise<void>): Promise<void> {
  const ca = await makeClusterCa({ seed: 5 });
  const tls = await ca.certify({ role: "manager", nodeId: "m1" });
  const workerTls = await ca.certify({ role: "worker", nodeId: "w2" });
  const told: CallContext[] = [];
  const handlers: Handlers<typeof DispatcherService> = {
    session: async function* (_request, context) {
      told.push(context);
      yield SessionMessage.create();
      await abortable(new Promise<never>(() => undefined), context.signal);
    },
    heartbeat: (_request, context) => {
      told.push(context);
      return Promise.resolve(HeartbeatResponse.create({ periodMs: 5 }));
    },
    updateTaskStatus: (_request, context) => {
      told.push(context);
      return Promise.resolve(UpdateTaskStatusResponse.create());
    },
    assignments: async function* (_request, context) {
      told.push(context);
      yield await Promise.resolve(AssignmentsMessage.create());
      throw new SwarmError("OutOfSequence", "session s is over: register again");
    },
    stream: async function* (requests, context) {
      told.push(context);
      for await (const frame of requests) yield frame;
    },
  };
  const server = new RpcServer({ logger: silentLogger, callerOf });
  server.add(DispatcherService, handlers, ACCESS);
  const port = await server.listenTls(
    "127.0.0.1:0",
    serverCredentials(() => tls),
  );
  const channels: RpcChannel[] = [];
  const door = (security: Parameters<typeof tlsChannel>[1]): Door => {
    const channel = tlsChannel(`127.0.0.1:${port}`, security);
    channels.push(channel);
    return createClient(DispatcherService, channel);
  };
  try {
    await body({
      manager: door(clientCredentials(tls)),
      worker: door(clientCredentials(workerTls)),
      nobody: door(anonymousCredentials({ caPem: tls.caPem })),
      told,
    });
  } finally {
    for (const channel of channels) channel.close();
    await server.close(0);
  }
}

const { signal } = new AbortController();
const request = { sessionId: "s" };

test("the other end is told who made the call and which manager passed it on, whatever the kind of call", async () => {
  await withDoors(async ({ manager, told }) => {
    await manager.heartbeat(request, { signal, forwardedFor: { kind: "local" } });
    await manager.updateTaskStatus(
      { ...request, updates: [] },
      { signal, forwardedFor: { kind: "anonymous", addr: "10.0.0.9:1" } },
    );
    const failed = { code: "OutOfSequence", message: "session s is over: register again" };
    const answers = manager.assignments(request, { signal, forwardedFor: WORKER })[Symbol.asyncIterator]();
    assert.equal((await answers.next()).done, false);
    await assert.rejects(answers.next(), failed);
    const frames = async function* (): AsyncGenerator<StreamFrame, void, undefined> {
      yield await Promise.resolve({ frame: { $case: "stdin", value: Buffer.from("hello") } } as const);
    };
    const seen: string[] = [];
    for await (const { frame } of manager.stream(frames(), { signal, forwardedFor: { kind: "local" } }))
      if (frame?.$case === "stdin") seen.push(Buffer.from(frame.value).toString());
    assert.deepEqual(seen, ["hello"]);
    assert.deepEqual(
      told.map(({ caller, forwardedBy }) => ({ caller, forwardedBy })),
      [{ kind: "local" }, { kind: "anonymous", addr: "10.0.0.9:1" }, WORKER, { kind: "local" }].map((caller) => ({
        caller,
        forwardedBy: "m1",
      })),
    );
  });
});

test("the access table looks at who made the call, not at the manager that passed it on", async () => {
  await withDoors(async ({ manager, told }) => {
    await assert.rejects(manager.heartbeat(request, { signal, forwardedFor: MANAGER }), {
      code: "PermissionDenied",
      message: /^node m1 \(a manager\) may not call/,
    });
    await assert.rejects(manager.heartbeat(request, { signal, forwardedFor: { kind: "anonymous", addr: "a:1" } }), {
      code: "PermissionDenied",
      message: /^a caller without a certificate may not call/,
    });
    assert.deepEqual(told, []);
  });
});

test("nobody but a manager may call in the name of another", async () => {
  await withDoors(async ({ worker, nobody, told }) => {
    const refused = { code: "PermissionDenied", message: "only a manager may call in the name of another" };
    for (const door of [worker, nobody])
      for (const forwardedFor of [{ kind: "local" }, WORKER] as const)
        await assert.rejects(door.heartbeat(request, { signal, forwardedFor }), refused);
    assert.equal(told.length, 0);
    await worker.heartbeat(request, { signal });
    const [own] = told;
    assert.ok(own?.caller.kind === "node" && own.caller.nodeId === "w2");
    assert.equal(own.forwardedBy, undefined);
  });
});

test("who leaves a stream that was passed on ends it at the other end", async () => {
  await withDoors(async ({ manager, told }) => {
    for await (const _ of manager.session({ ...request, description: undefined }, { signal, forwardedFor: WORKER }))
      break;
    await eventually(() => told[0]?.signal.aborted === true);
  });
});

test("a header that does not say who called is refused", () => {
  const read = (value: string): ReturnType<typeof originalCaller> => {
    const headers = new Metadata();
    headers.set("tsswarm-forwarded-from", value);
    return originalCaller(MANAGER, headers);
  };
  const plain = (value: unknown): string => encodeURIComponent(JSON.stringify(value));
  for (const value of [
    "",
    "{",
    "%",
    "null",
    "7",
    plain({ kind: "root" }),
    plain({ kind: "anonymous" }),
    plain({ ...WORKER, role: "king" }),
    plain({ ...WORKER, nodeId: 7 }),
    plain({ ...WORKER, addr: "x".repeat(1_024) }),
  ])
    assert.throws(() => read(value), { code: "InvalidArgument" }, value);
  assert.deepEqual(originalCaller(MANAGER, headersFor(WORKER)), { caller: WORKER, forwardedBy: "m1" });
  assert.deepEqual(originalCaller(MANAGER, headersFor(undefined)), { caller: MANAGER });
});
