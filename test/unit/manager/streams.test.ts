// The broker between a person's stream and an agent's: joining, pace, ends on either side, and who may accept what.

import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamBroker } from "../../../manager/dispatcher/stream-broker.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { Queue } from "../../../proto/base/queue.ts";
import type { StreamFrame, StreamOpen } from "../../../proto/gen/streams.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const OPEN: StreamOpen = { taskId: "t1", kind: undefined };
const TARGET = { nodeId: "n1", nodeName: "worker-1" };
const never = new AbortController().signal;

function text(value: string): StreamFrame {
  return { frame: { $case: "stdout", value: Buffer.from(value) } };
}

function stdin(value: string): StreamFrame {
  return { frame: { $case: "stdin", value: Buffer.from(value) } };
}

const EXIT: StreamFrame = { frame: { $case: "exit", value: { code: 3 } } };

function accepting(streamId: string): StreamFrame {
  return { frame: { $case: "accept", value: streamId } };
}

function set(): { readonly broker: StreamBroker; readonly clock: ManualClock } {
  const clock = new ManualClock();
  return { clock, broker: new StreamBroker({ clock, random: seededRandom(1) }) };
}

async function* none(): AsyncGenerator<StreamFrame, void, undefined> {
  await Promise.resolve();
  yield* [];
}

async function collect(frames: AsyncIterable<StreamFrame>): Promise<StreamFrame[]> {
  const all: StreamFrame[] = [];
  for await (const frame of frames) all.push(frame);
  return all;
}

function announcedId(broker: StreamBroker, nodeId = "n1"): string {
  const [request] = broker.announced(nodeId);
  assert.ok(request !== undefined);
  return request.streamId;
}

test("both ends hear each other and the last frame ends both", async () => {
  const { broker } = set();
  const input = new Queue<StreamFrame>(4);
  const fromAgent = new Queue<StreamFrame>(4);
  let told = 0;
  const stop = broker.listen("n1", () => (told += 1));
  const client = collect(broker.connect(TARGET, { open: OPEN, input }, never));
  await settled();
  assert.equal(told, 1);
  await fromAgent.put(accepting(announcedId(broker)), never);
  const agent = collect(broker.accept("n1", fromAgent, never));
  await input.put(stdin("hello"), never);
  await fromAgent.put(text("world"), never);
  await settled();
  assert.deepEqual(broker.announced("n1"), []);
  await fromAgent.put(EXIT, never);
  assert.deepEqual(await client, [text("world"), EXIT]);
  assert.deepEqual(await agent, [stdin("hello")]);
  stop();
});

test("a node that does not open the stream in time is named", async () => {
  const { broker, clock } = set();
  const client = collect(broker.connect(TARGET, { open: OPEN, input: none() }, never));
  const failure = assert.rejects(client, (error: unknown) => {
    assert.ok(error instanceof SwarmError);
    assert.equal(error.code, "Unavailable");
    assert.match(error.message, /node worker-1 did not open the stream within 10 s/);
    return true;
  });
  await clock.advance(10_000);
  await failure;
  assert.deepEqual(broker.announced("n1"), []);
  assert.equal(clock.pending, 0);
});

test("only the node that a stream was announced to may accept it, and only once", async () => {
  const { broker } = set();
  const stop = new AbortController();
  const client = collect(broker.connect(TARGET, { open: OPEN, input: none() }, stop.signal));
  await settled();
  const streamId = announcedId(broker);
  const frames = async function* (): AsyncGenerator<StreamFrame, void, undefined> {
    await Promise.resolve();
    yield accepting(streamId);
    await new Promise(() => undefined);
  };
  await assert.rejects(collect(broker.accept("n2", frames(), never)), { code: "PermissionDenied" });
  const agent = collect(broker.accept("n1", frames(), never));
  await settled();
  await assert.rejects(collect(broker.accept("n1", frames(), never)), { code: "NotFound" });
  stop.abort(new SwarmError("Cancelled", "gone"));
  await assert.rejects(client, { code: "Cancelled" });
  await agent;
});

test("a stream must begin by accepting", async () => {
  const { broker } = set();
  const frames = async function* (): AsyncGenerator<StreamFrame, void, undefined> {
    await Promise.resolve();
    yield text("hi");
  };
  await assert.rejects(collect(broker.accept("n1", frames(), never)), { code: "InvalidArgument" });
});

test("an agent that goes away in the middle leaves the client a clear error", async () => {
  const { broker } = set();
  for (const how of ["ends", "breaks", "is cancelled"]) {
    const gone = new AbortController();
    const fromAgent = new Queue<StreamFrame>(4);
    const client = collect(broker.connect(TARGET, { open: OPEN, input: new Queue<StreamFrame>(1) }, never));
    await settled();
    await fromAgent.put(accepting(announcedId(broker)), never);
    const agent = collect(broker.accept("n1", fromAgent, gone.signal)).catch((error: unknown) => error);
    await fromAgent.put(text("some"), never);
    await settled();
    if (how === "ends") fromAgent.end();
    else if (how === "breaks") fromAgent.end({ error: new Error("reset") });
    else gone.abort(new SwarmError("Cancelled", "the caller has gone away"));
    await assert.rejects(client, { code: "Unavailable", message: /node worker-1 went away before the stream ended/ });
    await agent;
  }
});

test("a client that goes away ends the agent's stream", async () => {
  const { broker } = set();
  const fromAgent = new Queue<StreamFrame>(4);
  const client = broker.connect(TARGET, { open: OPEN, input: new Queue<StreamFrame>(1) }, never);
  const first = client.next();
  await settled();
  await fromAgent.put(accepting(announcedId(broker)), never);
  const agent = collect(broker.accept("n1", fromAgent, never));
  await fromAgent.put(text("a"), never);
  assert.deepEqual((await first).value, text("a"));
  await client.return();
  assert.deepEqual(await agent, []);
});

test("the slower end sets the pace", async () => {
  const { broker } = set();
  let produced = 0;
  let streamId = "";
  const fromAgent = async function* (): AsyncGenerator<StreamFrame, void, undefined> {
    yield accepting(streamId);
    for (;;) {
      await Promise.resolve();
      produced += 1;
      yield text("x");
    }
  };
  const client = broker.connect(TARGET, { open: OPEN, input: new Queue<StreamFrame>(1) }, never);
  const first = client.next();
  await settled();
  streamId = announcedId(broker);
  const agent = collect(broker.accept("n1", fromAgent(), never));
  await first;
  await settled();
  assert.ok(produced <= 2, `${produced} frames were taken for one that was read`);
  await client.return();
  await agent;
});

test("a node has a bound on its streams", async () => {
  const { broker } = set();
  const stop = new AbortController();
  const open = (): Promise<unknown> =>
    collect(broker.connect(TARGET, { open: OPEN, input: none() }, stop.signal)).catch((error: unknown) => error);
  const streams = Array.from({ length: 200 }, open);
  await settled();
  const refused = await open();
  assert.ok(refused instanceof SwarmError);
  assert.equal(refused.code, "ResourceExhausted");
  stop.abort(new SwarmError("Cancelled", "done"));
  await Promise.all(streams);
  assert.deepEqual(broker.announced("n1"), []);
});
