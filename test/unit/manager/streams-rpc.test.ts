// Exec from a client through a manager to an agent and back, over real gRPC on unix sockets, with the agent's own side of it.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Streams } from "../../../agent/streams.ts";
import { ACCESS } from "../../../manager/access.ts";
import { createControl } from "../../../manager/control/create-control.ts";
import { Dispatcher } from "../../../manager/dispatcher/dispatcher.ts";
import { StreamBroker } from "../../../manager/dispatcher/stream-broker.ts";
import { abortable } from "../../../proto/base/abort.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { DispatcherService } from "../../../proto/gen/dispatcher.ts";
import { NodeDescription } from "../../../proto/gen/objects.ts";
import type { StreamFrame, StreamOpen } from "../../../proto/gen/streams.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { unixChannel } from "../../../proto/rpc/channel.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import { RpcServer } from "../../../proto/rpc/serve.ts";
import { addCluster, addNode, addTask, memoryStore } from "../../support/cluster-state.ts";

const never = new AbortController().signal;
const EXIT: StreamFrame = { frame: { $case: "exit", value: { code: 7 } } };
const EXEC: StreamOpen = {
  taskId: "web.1",
  kind: {
    $case: "exec",
    value: {
      args: ["cat"],
      env: [],
      dir: "",
      user: "",
      tty: false,
      stdin: true,
      size: undefined,
      privileged: false,
    },
  },
};

type Serve = (open: StreamOpen, input: AsyncIterable<StreamFrame>, signal: AbortSignal) => AsyncIterable<StreamFrame>;

/** A manager with node n1, whose agent serves streams by `serve`. */
async function withCluster(
  serve: Serve,
  body: (parts: { readonly control: Client<typeof ControlService>; readonly agent: AbortController }) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-streams-"));
  const store = memoryStore(systemClock);
  await addCluster(store);
  await addNode(store, "n1");
  await addTask(store, "t1");
  const random = seededRandom(9);
  const streams = new StreamBroker({ clock: systemClock, random });
  const dispatcher = new Dispatcher({ store, clock: systemClock, random, logger: silentLogger, streams });
  const control = createControl({
    store,
    clock: systemClock,
    random,
    streams,
    members: () => [],
    rotateTokens: (rootCa) => rootCa,
    playOut: () => Promise.resolve([]),
  });
  const forPeople = new RpcServer({ logger: silentLogger, callerOf: () => ({ kind: "local" }) });
  forPeople.add(ControlService, control, ACCESS.control);
  const forNodes = new RpcServer({
    logger: silentLogger,
    callerOf: () => ({ kind: "node", nodeId: "n1", role: "worker", clusterId: "c1", addr: "127.0.0.1:1" }),
  });
  forNodes.add(DispatcherService, dispatcher.handlers, ACCESS.dispatcher);
  const stop = new AbortController();
  const running = dispatcher.run(stop.signal);
  const people = unixChannel(join(dir, "people.sock"));
  const nodes = unixChannel(join(dir, "nodes.sock"));
  const agent = new AbortController();
  try {
    await forPeople.listenUnix(join(dir, "people.sock"));
    await forNodes.listenUnix(join(dir, "nodes.sock"));
    const client = createClient(DispatcherService, nodes);
    const served = new Streams({ client, worker: { stream: serve }, logger: silentLogger, signal: agent.signal });
    const description = { ...NodeDescription.create(), hostname: "host-n1" };
    const session = client.session({ description, sessionId: "" }, { signal: agent.signal });
    const attending = (async () => {
      for await (const message of session) for (const request of message.streams) served.open(request);
    })().catch(() => undefined);
    await body({ control: createClient(ControlService, people), agent });
    agent.abort(new SwarmError("Cancelled", "the test is over"));
    await attending;
    await served.close();
  } finally {
    agent.abort(new SwarmError("Cancelled", "the test is over"));
    people.close();
    nodes.close();
    await Promise.all([forPeople.close(200), forNodes.close(200)]);
    stop.abort(new SwarmError("Cancelled", "the test is over"));
    await running;
    await rm(dir, { recursive: true });
  }
}

async function* input(...frames: StreamFrame[]): AsyncGenerator<StreamFrame, void, undefined> {
  await Promise.resolve();
  yield { frame: { $case: "open", value: EXEC } };
  yield* frames;
}

test("a megabyte of input goes through to the task and comes back whole", async () => {
  const chunk = Buffer.alloc(65_536, "x");
  const echo: Serve = async function* (_open, frames) {
    for await (const { frame } of frames) {
      if (frame?.$case === "stdinClosed") break;
      if (frame?.$case === "stdin") yield { frame: { $case: "stdout", value: frame.value } };
    }
    yield EXIT;
  };
  await withCluster(echo, async ({ control }) => {
    const frames: StreamFrame[] = Array.from({ length: 16 }, () => ({ frame: { $case: "stdin", value: chunk } }));
    frames.push({ frame: { $case: "stdinClosed", value: {} } });
    let bytes = 0;
    let last: StreamFrame | undefined;
    for await (const frame of control.exec(input(...frames), { signal: never })) {
      if (frame.frame?.$case === "stdout") bytes += frame.frame.value.length;
      last = frame;
    }
    assert.equal(bytes, 16 * 65_536);
    assert.deepEqual(last, EXIT);
  });
});

test("an agent that goes away in the middle is an error with the node's name", async () => {
  const hang: Serve = async function* (_open, _input, signal) {
    yield { frame: { $case: "stdout", value: Buffer.from("x") } };
    await abortable(new Promise<never>(() => undefined), signal);
  };
  await withCluster(hang, async ({ control, agent }) => {
    const frames = control.exec(input(), { signal: never })[Symbol.asyncIterator]();
    assert.equal((await frames.next()).done, false);
    const rest = frames.next();
    agent.abort(new SwarmError("Cancelled", "power cut"));
    await assert.rejects(rest, { code: "Unavailable", message: /node host-n1 went away before the stream ended/ });
  });
});

test("a client that goes away ends what the agent does for it", async () => {
  const over = Promise.withResolvers<string>();
  const hang: Serve = async function* (_open, _input, signal) {
    yield { frame: { $case: "stdout", value: Buffer.from("x") } };
    await abortable(new Promise<never>(() => undefined), signal).catch(() => over.resolve("ended"));
  };
  await withCluster(hang, async ({ control }) => {
    const client = new AbortController();
    const frames = control.exec(input(), { signal: client.signal })[Symbol.asyncIterator]();
    await frames.next();
    const rest = frames.next();
    client.abort(new SwarmError("Cancelled", "enough"));
    await assert.rejects(rest, { code: "Cancelled" });
    assert.equal(await over.promise, "ended");
  });
});

test("what the agent refuses arrives as its error frame", async () => {
  const refuse: Serve = () => {
    throw new SwarmError("NotFound", "there is no task t1 here");
  };
  await withCluster(refuse, async ({ control }) => {
    const got: StreamFrame[] = [];
    for await (const frame of control.exec(input(), { signal: never })) got.push(frame);
    assert.deepEqual(got, [
      { frame: { $case: "error", value: { code: "NotFound", message: "there is no task t1 here" } } },
    ]);
  });
});
