// The plumbing under every call, over a real unix socket: values, errors, streams with back-pressure, cancellation, access.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SwarmError, isSwarmError } from "../../../proto/base/errors.ts";
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
import { unixChannel } from "../../../proto/rpc/channel.ts";
import type { Client, Handlers } from "../../../proto/rpc/methods.ts";
import { RpcServer, localCaller } from "../../../proto/rpc/serve.ts";

type DispatcherHandlers = Handlers<typeof DispatcherService>;

const everyone = ["local"] as const;
const access = {
  session: everyone,
  heartbeat: everyone,
  updateTaskStatus: ["worker"] as const,
  assignments: everyone,
  stream: everyone,
};

async function withServer(
  overrides: Partial<DispatcherHandlers>,
  body: (client: Client<typeof DispatcherService>) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-rpc-"));
  const server = new RpcServer({ logger: silentLogger, callerOf: localCaller });
  const handlers: DispatcherHandlers = {
    session: async function* () {
      yield await Promise.resolve(SessionMessage.create());
    },
    heartbeat: () => Promise.resolve(HeartbeatResponse.create({ periodMs: 5 })),
    updateTaskStatus: () => Promise.resolve(UpdateTaskStatusResponse.create()),
    assignments: async function* () {
      yield await Promise.resolve(AssignmentsMessage.create());
    },
    stream: async function* (requests) {
      for await (const frame of requests) yield frame;
    },
    ...overrides,
  };
  server.add(DispatcherService, handlers, access);
  const path = join(dir, "s");
  await server.listenUnix(path);
  const channel = unixChannel(path);
  try {
    await body(createClient(DispatcherService, channel));
  } finally {
    channel.close();
    await server.close(200);
    await rm(dir, { recursive: true });
  }
}

const { signal } = new AbortController();

function frame(text: string): StreamFrame {
  return { frame: { $case: "stdin", value: new TextEncoder().encode(text) } };
}

test("a unary call answers", async () => {
  await withServer({}, async (client) => {
    assert.equal((await client.heartbeat({ sessionId: "s" }, { signal })).periodMs, 5);
  });
});

test("an error keeps its code and its sentence over the wire", async () => {
  const heartbeat = (): Promise<never> => Promise.reject(new SwarmError("OutOfSequence", "update out of sequence"));
  await withServer({ heartbeat }, async (client) => {
    await assert.rejects(client.heartbeat({ sessionId: "s" }, { signal }), {
      code: "OutOfSequence",
      message: "update out of sequence",
    });
  });
});

test("an error in the middle of a stream arrives after the messages before it", async () => {
  const assignments: DispatcherHandlers["assignments"] = async function* () {
    yield await Promise.resolve(AssignmentsMessage.create({ resultsIn: "1" }));
    throw new SwarmError("NotFound", "node n1 was removed");
  };
  await withServer({ assignments }, async (client) => {
    const seen: string[] = [];
    const reading = (async () => {
      for await (const message of client.assignments({ sessionId: "s" }, { signal })) seen.push(message.resultsIn);
    })();
    await assert.rejects(reading, { code: "NotFound", message: "node n1 was removed" });
    assert.deepEqual(seen, ["1"]);
  });
});

test("a caller that the table does not name is refused before the handler runs", async () => {
  await withServer({}, async (client) => {
    await assert.rejects(client.updateTaskStatus({ sessionId: "s", updates: [] }, { signal }), {
      code: "PermissionDenied",
      message: "this socket may not call /tsswarm.v1.Dispatcher/UpdateTaskStatus",
    });
  });
});

test("frames go both ways and the end of input ends the stream", async () => {
  await withServer({}, async (client) => {
    const input = async function* (): AsyncGenerator<StreamFrame> {
      for (let index = 0; index < 100; index++) yield await Promise.resolve(frame(String(index)));
    };
    const seen: string[] = [];
    for await (const answer of client.stream(input(), { signal })) {
      assert.equal(answer.frame?.$case, "stdin");
      seen.push(new TextDecoder().decode(answer.frame.value));
    }
    assert.equal(seen.length, 100);
    assert.equal(seen[99], "99");
  });
});

test("a producer runs only as far ahead as the transport takes", async () => {
  let produced = 0;
  const payload = new Uint8Array(60_000);
  const stream: DispatcherHandlers["stream"] = async function* (_requests, context) {
    while (!context.signal.aborted && produced < 10_000) {
      produced += 1;
      yield await Promise.resolve({ frame: { $case: "stdout", value: payload } });
    }
  };
  await withServer({ stream }, async (client) => {
    const none = async function* (): AsyncGenerator<StreamFrame> {
      yield await Promise.resolve(frame("open"));
    };
    let read = 0;
    for await (const _ of client.stream(none(), { signal })) {
      read += 1;
      await new Promise((resolve) => setImmediate(resolve));
      if (read === 20) break;
    }
    assert.ok(produced < 1_000, `produced ${produced} messages for a reader of 20`);
  });
});

test("an aborted stream tells the server", async () => {
  let told: () => void = () => undefined;
  const aborted = new Promise<void>((resolve) => (told = resolve));
  const session: DispatcherHandlers["session"] = async function* (_request, context) {
    yield SessionMessage.create({ sessionId: "s1" });
    await new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()));
    told();
  };
  await withServer({ session }, async (client) => {
    const controller = new AbortController();
    const reading = (async () => {
      const request = { description: undefined, sessionId: "" };
      for await (const message of client.session(request, { signal: controller.signal })) {
        assert.equal(message.sessionId, "s1");
        controller.abort();
      }
    })();
    await assert.rejects(reading, { code: "Cancelled" });
    await aborted;
  });
});

for (const what of ["gives its upload up", "cannot read what it uploads"]) {
  test(`a caller that ${what} is not taken for one that has uploaded all of it`, async () => {
    const arrived = Promise.withResolvers<undefined>();
    const outcome = Promise.withResolvers<{ readonly error: unknown; readonly aborted: boolean }>();
    const stream: DispatcherHandlers["stream"] = async function* (requests, context) {
      try {
        for await (const each of requests) {
          yield each;
          arrived.resolve(undefined);
        }
        outcome.resolve({ error: "the upload is whole", aborted: context.signal.aborted });
      } catch (error) {
        outcome.resolve({ error, aborted: context.signal.aborted });
      }
    };
    await withServer({ stream }, async (client) => {
      const giveUp = new AbortController();
      const input = async function* (): AsyncGenerator<StreamFrame> {
        yield frame("a part");
        await arrived.promise;
        if (what === "cannot read what it uploads") throw new SwarmError("NotFound", "the file is gone");
        giveUp.abort();
        await new Promise<never>(() => undefined);
      };
      const drained = (async () => {
        for await (const answer of client.stream(input(), { signal: giveUp.signal })) assert.ok(answer);
      })();
      await assert.rejects(drained, SwarmError);
      const { aborted, error } = await outcome.promise;
      assert.ok(isSwarmError(error, "Cancelled"), String(error));
      assert.equal(aborted, true);
    });
  });
}

test("an upload of nothing is whole", async () => {
  const nothing = async function* (): AsyncGenerator<StreamFrame> {};
  await withServer({}, async (client) => {
    let answers = 0;
    for await (const _ of client.stream(nothing(), { signal })) answers += 1;
    assert.equal(answers, 0);
  });
});

test("a missing socket is a sentence that names it", async () => {
  const channel = unixChannel("/nonexistent/tsswarmd.sock");
  const client = createClient(DispatcherService, channel);
  await assert.rejects(client.heartbeat({ sessionId: "s" }, { signal }), (error: SwarmError) => {
    assert.equal(error.code, "Unavailable");
    assert.match(error.message, /^Cannot connect to the tsswarm daemon at unix:\/\/\/nonexistent\/tsswarmd.sock/);
    return true;
  });
  channel.close();
});
