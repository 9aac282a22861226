// The small tools that long-lived things wait with: groups, notices, queues, slots, deadlines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { abortable, aborted, childOf, withDeadline } from "../../../proto/base/abort.ts";
import { AssertionError } from "../../../proto/base/assert.ts";
import { Backoff } from "../../../proto/base/backoff.ts";
import { Group } from "../../../proto/base/group.ts";
import { Notice } from "../../../proto/base/notice.ts";
import { Queue } from "../../../proto/base/queue.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { Slots } from "../../../proto/base/slots.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const live = new AbortController().signal;

test("the first failure of a group stops the others and is its result", async () => {
  const group = new Group(live);
  let stopped = false;
  group.spawn(async (signal) => {
    await aborted(signal);
    stopped = true;
    throw new Error("a failure that comes of the stopping");
  });
  group.spawn(() => Promise.reject(new Error("the first")));
  await assert.rejects(group.join(), /the first/);
  assert.ok(stopped);
  assert.equal(group.size, 0);
});

test("a stopped group ends without an error, unless an assertion failed", async () => {
  const calm = new Group(live);
  calm.spawn((signal) => abortable(new Promise<void>(() => undefined), signal));
  calm.stop();
  await calm.join();
  const broken = new Group(live);
  broken.spawn(async (signal) => {
    await aborted(signal);
    throw new AssertionError("broken");
  });
  broken.stop();
  await assert.rejects(broken.join(), AssertionError);
});

test("several notices before a wait count as one", async () => {
  const notice = new Notice();
  notice.raise();
  notice.raise();
  await notice.wait(live);
  const abort = new AbortController();
  const waiting = notice.wait(abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  const again = notice.wait(live);
  notice.raise();
  await again;
});

test("a full queue holds its producer back, and an ended one gives what is left", async () => {
  const queue = new Queue<number>(2);
  const put: number[] = [];
  const producing = (async () => {
    for (let item = 1; item <= 5; item += 1) {
      await queue.put(item, live);
      put.push(item);
    }
    queue.end();
  })();
  await settled();
  assert.deepEqual(put, [1, 2]);
  const got: number[] = [];
  for await (const item of queue) got.push(item);
  await producing;
  assert.deepEqual(got, [1, 2, 3, 4, 5]);
  await queue.put(6, live);
  assert.equal(queue.size, 0);
});

test("a queue that ends with an error throws it after what is left", async () => {
  const queue = new Queue<number>(2);
  await queue.put(1, live);
  queue.end({ error: new Error("broken off") });
  const got: number[] = [];
  await assert.rejects(async () => {
    for await (const item of queue) got.push(item);
  }, /broken off/);
  assert.deepEqual(got, [1]);
});

test("slots bound what goes on at once, keep the order, and let go of who gives up", async () => {
  const slots = new Slots(2);
  const order: number[] = [];
  const gates = [0, 1, 2, 3].map(() => Promise.withResolvers<undefined>());
  const abort = new AbortController();
  const runs = gates.map((gate, index) =>
    slots.run(
      async () => {
        order.push(index);
        await gate.promise;
      },
      index === 2 ? abort.signal : live,
    ),
  );
  await settled();
  assert.deepEqual(order, [0, 1]);
  abort.abort(new Error("gave up"));
  await assert.rejects(runs[2] ?? Promise.resolve(), /gave up/);
  gates[0]?.resolve(undefined);
  await settled();
  assert.deepEqual(order, [0, 1, 3]);
  for (const gate of gates) gate.resolve(undefined);
  await Promise.all(runs.filter((_, index) => index !== 2));
  assert.equal(await slots.run(() => Promise.resolve("free again"), live), "free again");
});

test("a deadline breaks off with its name, and leaves no timer when the work is done", async () => {
  const clock = new ManualClock();
  const options = { clock, ms: 1_500, what: "the work" };
  assert.equal(await withDeadline(options, () => Promise.resolve(1)), 1);
  assert.equal(clock.pending, 0);
  const late = withDeadline(options, (signal) => abortable(new Promise<void>(() => undefined), signal));
  const outcome = assert.rejects(late, /the work took longer than 1.5 s/);
  await clock.advance(1_500);
  await outcome;
});

test("a child aborts with its parent or alone, and a released one no more with its parent", () => {
  const parent = new AbortController();
  const [alone, released, child] = [childOf(parent.signal), childOf(parent.signal), childOf(parent.signal)];
  alone.abort(new Error("alone"));
  released.release();
  assert.equal(parent.signal.aborted, false);
  parent.abort(new Error("all"));
  assert.deepEqual(
    [alone, released, child].map(({ signal }) => signal.aborted),
    [true, false, true],
  );
});

test("delays grow to the longest, with jitter, and begin anew after a reset", () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 8_000, random: seededRandom(1) });
  const delays = Array.from({ length: 50 }, () => backoff.nextMs());
  for (const [index, delay] of delays.entries()) {
    const whole = Math.min(8_000, 100 * 2 ** index);
    assert.ok(delay >= whole / 2 && delay <= whole);
  }
  backoff.reset();
  assert.ok(backoff.nextMs() <= 100);
});
