// Exec and logs over the API: what is checked before a task is reached, and how logs of many tasks become one stream.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TaskStreams } from "../../../manager/control/exec.ts";
import { createControl } from "../../../manager/control/create-control.ts";
import type { ClusterControl } from "../../../manager/control/cluster-control.ts";
import type { Store } from "../../../manager/store/store.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { abortable } from "../../../proto/base/abort.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { LogsMessage, LogsRequest } from "../../../proto/gen/control.ts";
import { NodeStatus_State } from "../../../proto/gen/objects.ts";
import type { StreamFrame, StreamOpen } from "../../../proto/gen/streams.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";
import { addNode, addService, addTask, memoryStore } from "../../support/cluster-state.ts";

const LOCAL: CallContext = { caller: { kind: "local" }, signal: new AbortController().signal };
const EXIT: StreamFrame = { frame: { $case: "exit", value: { code: 0 } } };

interface Opened {
  readonly nodeId: string;
  readonly open: StreamOpen;
}

function line(text: string): StreamFrame {
  const entry = { atUs: 1, stderr: false, data: Buffer.from(text), partial: false };
  return { frame: { $case: "logs", value: { lines: [entry] } } };
}

function opening(change: { readonly taskId?: string; readonly args?: readonly string[] } = {}): StreamFrame {
  const exec = {
    args: ["sh"],
    env: [],
    dir: "",
    user: "",
    tty: false,
    stdin: true,
    size: undefined,
    privileged: false,
  };
  return {
    frame: {
      $case: "open",
      value: { taskId: change.taskId ?? "web.1", kind: { $case: "exec", value: { ...exec, ...change } } },
    },
  };
}

function set(connect: TaskStreams["connect"]): {
  readonly store: Store;
  readonly control: ClusterControl;
} {
  const clock = new ManualClock();
  const store = memoryStore(clock);
  const control = createControl({
    store,
    clock,
    random: seededRandom(3),
    members: () => [],
    playOut: () => Promise.resolve([]),
    rotateTokens: (rootCa) => rootCa,
    streams: { connect },
  });
  return { store, control };
}

async function* say(...frames: StreamFrame[]): AsyncGenerator<StreamFrame, void, undefined> {
  await Promise.resolve();
  yield* frames;
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("exec finds the task by its slot's name and passes frames both ways", async () => {
  const opened: Opened[] = [];
  const { store, control } = set(async function* (target, { open, input }) {
    opened.push({ nodeId: target.nodeId, open });
    for await (const frame of input) yield frame;
    yield EXIT;
  });
  await addNode(store, "n1");
  await addTask(store, "t1");
  const stdin: StreamFrame = { frame: { $case: "stdin", value: Buffer.from("ls\n") } };
  assert.deepEqual(await collect(control.exec(say(opening(), stdin), LOCAL)), [stdin, EXIT]);
  assert.deepEqual(
    opened.map(({ nodeId, open }) => [nodeId, open.taskId, open.kind?.$case]),
    [["n1", "t1", "exec"]],
  );
});

test("exec says why a task cannot be reached", async () => {
  const { store, control } = set(() => assert.fail("nothing is to be opened"));
  await addNode(store, "n1", { status: { state: NodeStatus_State.DOWN, message: "", addr: "" } });
  await addTask(store, "t1", { state: TaskState.PREPARING });
  await addTask(store, "t2", { slot: 2 });
  await addTask(store, "t3", { slot: 3, nodeId: "gone" });
  const cases: readonly (readonly [StreamFrame, string, RegExp])[] = [
    [opening(), "FailedPrecondition", /^task web\.1 is not running \(state: preparing\)$/],
    [opening({ taskId: "web.2" }), "Unavailable", /^node host-n1, which runs task web\.2, is down$/],
    [opening({ taskId: "web.3" }), "Unavailable", /was removed/],
    [opening({ taskId: "web.9" }), "NotFound", /^task web\.9 not found$/],
    [opening({ args: [] }), "InvalidArgument", /exec needs a command/],
    [EXIT, "InvalidArgument", /first frame/],
  ];
  for (const [frame, code, message] of cases)
    await assert.rejects(collect(control.exec(say(frame), LOCAL)), { code, message });
});

test("a client may send only input, its end and sizes, in bounded frames", async () => {
  const { store, control } = set(async function* (_target, { input }) {
    yield* input;
  });
  await addNode(store, "n1");
  await addTask(store, "t1");
  const large: StreamFrame = { frame: { $case: "stdin", value: Buffer.alloc(65_537) } };
  await assert.rejects(collect(control.exec(say(opening(), large), LOCAL)), { code: "InvalidArgument" });
  await assert.rejects(collect(control.exec(say(opening(), EXIT), LOCAL)), { code: "InvalidArgument" });
});

const ALL: LogsRequest = {
  serviceRef: "web",
  taskRefs: [],
  follow: false,
  tail: 10,
  sinceMs: 5,
  stdout: true,
  stderr: true,
};

function texts(messages: readonly LogsMessage[]): string[] {
  return messages.flatMap((message) => [
    ...message.lines.map((each) => `${each.taskId}: ${Buffer.from(each.line?.data ?? []).toString()}`),
    ...(message.warning === "" ? [] : [`! ${message.warning}`]),
  ]);
}

test("logs of a service come from every task that was started, ended ones too", async () => {
  const opened: Opened[] = [];
  const { store, control } = set((target, { open }) => {
    opened.push({ nodeId: target.nodeId, open });
    return say(line(`hello from ${open.taskId}`), EXIT);
  });
  await addNode(store, "n1");
  await addNode(store, "n2");
  await addService(store, "s1");
  await addTask(store, "t1");
  await addTask(store, "t2", { slot: 2, nodeId: "n2", state: TaskState.FAILED });
  await addTask(store, "t3", { slot: 3, state: TaskState.PREPARING });
  await addTask(store, "t4", { slot: 4, nodeId: "", state: TaskState.PENDING });
  assert.deepEqual(texts(await collect(control.logs(ALL, LOCAL))).sort(), ["t1: hello from t1", "t2: hello from t2"]);
  const [first] = opened;
  assert.deepEqual(first?.open.kind, {
    $case: "logs",
    value: { follow: false, tail: 10, sinceMs: 5, stdout: true, stderr: true },
  });
});

test("a node that cannot answer costs a warning and not the others' lines", async () => {
  const { store, control } = set((target, { open }) => {
    if (target.nodeId === "n2") throw new SwarmError("Unavailable", "node host-n2 did not open the stream");
    if (open.taskId === "t4") return say({ frame: { $case: "error", value: { code: "NotFound", message: "no log" } } });
    return say(line("hello"), { frame: { $case: "dropped", value: { bytes: 0, lines: 7 } } }, EXIT);
  });
  await addNode(store, "n1");
  await addNode(store, "n2");
  await addNode(store, "n3", { status: { state: NodeStatus_State.DOWN, message: "", addr: "" } });
  await addService(store, "s1");
  await addTask(store, "t1");
  await addTask(store, "t2", { slot: 2, nodeId: "n2" });
  await addTask(store, "t3", { slot: 3, nodeId: "n3" });
  await addTask(store, "t4", { slot: 4 });
  await addTask(store, "t5", { slot: 5, nodeId: "n3" });
  assert.deepEqual(texts(await collect(control.logs(ALL, LOCAL))).sort(), [
    "! 7 lines of task web.1 on node host-n1 were dropped",
    "! logs of task web.2 on node host-n2 are incomplete: node host-n2 did not open the stream",
    "! logs of task web.4 on node host-n1: no log",
    "! node host-n3 is down: the logs of its tasks are missing",
    "t1: hello",
  ]);
});

test("followed logs take in tasks that start later and end when the service is gone", async () => {
  const { store, control } = set(async function* (_target, { open }) {
    yield line(`${open.kind?.$case === "logs" ? (open.kind.value.tail ?? "all") : ""}`);
    await settled();
    yield EXIT;
  });
  await addNode(store, "n1");
  await addService(store, "s1");
  await addTask(store, "t1");
  const reading = collect(control.logs({ ...ALL, follow: true }, LOCAL));
  await settled();
  await addTask(store, "t2", { slot: 2, state: TaskState.ASSIGNED });
  await settled();
  await store.update((tx) => {
    const task = tx.tasks.get("t2");
    if (task !== undefined) tx.tasks.update({ ...task, status: { ...task.status, state: TaskState.RUNNING } });
  });
  await settled();
  await store.update((tx) => tx.services.remove("s1"));
  assert.deepEqual(texts(await reading), ["t1: 10", "t2: all"]);
});

test("a reader of logs that goes away ends every stream", async () => {
  let live = 0;
  const { store, control } = set(async function* (_target, _request, signal) {
    live += 1;
    try {
      yield line("x");
      await abortable(new Promise<never>(() => undefined), signal);
    } finally {
      live -= 1;
    }
  });
  await addNode(store, "n1");
  await addService(store, "s1");
  await addTask(store, "t1");
  await addTask(store, "t2", { slot: 2 });
  const reader = control.logs({ ...ALL, follow: true }, LOCAL)[Symbol.asyncIterator]();
  await reader.next();
  await reader.next();
  assert.equal(live, 2);
  await reader.return?.();
  await settled();
  assert.equal(live, 0);
  const stop = new AbortController();
  const other = collect(control.logs({ ...ALL, follow: true }, { ...LOCAL, signal: stop.signal }));
  await settled();
  stop.abort(new SwarmError("Cancelled", "gone"));
  await assert.rejects(other, { code: "Cancelled" });
  await settled();
  assert.equal(live, 0);
});

test("logs are asked for in one way", async () => {
  const { control } = set(() => assert.fail("nothing is to be opened"));
  await assert.rejects(
    collect(control.logs({ ...ALL, stdout: false, stderr: false }, LOCAL)),
    /stdout, stderr or both/,
  );
  await assert.rejects(collect(control.logs({ ...ALL, taskRefs: ["t1"] }, LOCAL)), /one service or of named tasks/);
  await assert.rejects(collect(control.logs({ ...ALL, serviceRef: "foo" }, LOCAL)), /service foo not found/);
});
