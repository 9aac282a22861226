// The store: transactions on their way over one another, what watchers and readers see, and that log, snapshot and memory agree.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isNotTaken } from "../../../manager/store/not-taken.ts";
import { Store, type StoreCommit } from "../../../manager/store/store.ts";
import type { ReadTx, WriteTx } from "../../../manager/store/tx.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { StoreChange_Action } from "../../../proto/gen/control.ts";
import { Service, Task } from "../../../proto/gen/objects.ts";
import { type WholeService, type WholeTask, wholeService, wholeTask } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { FakeProposer } from "../../support/fake-proposer.ts";

const NOW = 1_700_000_000_000;

function makeStore(): { readonly store: Store; readonly proposer: FakeProposer } {
  const store = new Store({ now: () => NOW });
  const proposer = new FakeProposer();
  store.attach(proposer);
  return { store, proposer };
}

function service(id: string, name = id): WholeService {
  const whole = wholeService(Service.create({ id }));
  return { ...whole, spec: { ...whole.spec, name } };
}

function task(id: string, fields: Partial<Task> = {}): WholeTask {
  return wholeTask(Task.create({ id, serviceId: "s1", slot: 1, ...fields }));
}

function rename(tx: WriteTx, change: { readonly id: string; readonly to: string }): void {
  const found = tx.services.get(change.id);
  assert.ok(found);
  tx.services.update({ ...found, spec: { ...found.spec, name: change.to } });
}

function contents(view: ReadTx): unknown {
  const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);
  return [view.services.all().toSorted(byId), view.tasks.all().toSorted(byId)];
}

test("what is committed carries its version and times, and is frozen all the way down", async () => {
  const { store } = makeStore();
  await store.update((tx) => tx.services.create(service("s1", "web")));
  await store.update((tx) => rename(tx, { id: "s1", to: "web2" }));
  const found = store.view().services.get("s1");
  assert.deepEqual(found?.meta, { version: 2, createdAtMs: NOW, updatedAtMs: NOW });
  assert.ok(Object.isFrozen(found) && Object.isFrozen(found.meta) && Object.isFrozen(found.spec.task.container.env));
  assert.equal(store.version, 2);
});

test("readers see nothing of a change before it is durable", async () => {
  const { store, proposer } = makeStore();
  proposer.hold = true;
  const done = store.update((tx) => tx.services.create(service("s1")));
  assert.equal(store.view().services.get("s1"), undefined);
  proposer.commit();
  await done;
  assert.ok(store.view().services.get("s1"));
});

test("indexes follow every change", async () => {
  const { store } = makeStore();
  await store.update((tx) => {
    tx.services.create(service("s1", "web"));
    tx.tasks.create(task("t1"));
    tx.tasks.create(task("t2", { slot: 2, nodeId: "n1" }));
  });
  const ids = (tasks: readonly WholeTask[]): string[] => tasks.map(({ id }) => id).sort();
  const view = store.view();
  assert.deepEqual(ids(view.tasks.byService("s1")), ["t1", "t2"]);
  assert.deepEqual(ids(view.tasks.byNode("n1")), ["t2"]);
  assert.deepEqual(ids(view.tasks.byNode("")), ["t1"]);
  assert.deepEqual(ids(view.tasks.bySlot({ serviceId: "s1", slot: 2, nodeId: "" })), ["t2"]);
  await store.update((tx) => {
    tx.tasks.update({ ...task("t1"), nodeId: "n1" });
    tx.tasks.remove("t2");
    rename(tx, { id: "s1", to: "shop" });
  });
  assert.deepEqual(ids(view.tasks.byNode("n1")), ["t1"]);
  assert.deepEqual(ids(view.tasks.byNode("")), []);
  assert.deepEqual(ids(view.tasks.bySlot({ serviceId: "s1", slot: 2, nodeId: "" })), []);
  assert.equal(view.services.byName("web").length, 0);
  assert.equal(view.services.byName("shop")[0]?.id, "s1");
});

test("a transaction that throws leaves nothing behind, and one nested in another only the outer's writes", async () => {
  const { store, proposer } = makeStore();
  await assert.rejects(
    store.update((tx) => {
      tx.services.create(service("s1"));
      throw new Error("no");
    }),
    /no/,
  );
  await store.update((tx) => {
    tx.services.create(service("s2", "before"));
    assert.throws(() =>
      tx.nested(() => {
        rename(tx, { id: "s2", to: "after" });
        tx.services.create(service("s3"));
        throw new Error("inner");
      }),
    );
    assert.equal(tx.changeCount, 1);
  });
  assert.deepEqual(
    store
      .view()
      .services.all()
      .map(({ spec }) => spec.name),
    ["before"],
  );
  assert.equal(proposer.log.length, 1);
});

test("unknown and taken ids are refused, and a task's states never fall", async () => {
  const { store } = makeStore();
  await store.update((tx) => tx.tasks.create(task("t1", { desiredState: TaskState.SHUTDOWN })));
  const code = (expected: string) => (error: unknown) => isSwarmError(error) && error.code === expected;
  await assert.rejects(
    store.update((tx) => tx.tasks.create(task("t1"))),
    code("AlreadyExists"),
  );
  await assert.rejects(
    store.update((tx) => tx.tasks.update(task("t9"))),
    code("NotFound"),
  );
  await assert.rejects(
    store.update((tx) => tx.tasks.remove("t9")),
    code("NotFound"),
  );
  await assert.rejects(
    store.update((tx) => tx.tasks.update(task("t1", { desiredState: TaskState.RUNNING }))),
    /desired state of task t1 only rises/,
  );
});

test("a transaction is at most 200 objects and 1.5 MiB", async () => {
  const { store, proposer } = makeStore();
  const many = store.update((tx) => {
    for (let each = 0; each < 201; each += 1) tx.tasks.create(task(`t${each}`));
  });
  await assert.rejects(many, (error) => isSwarmError(error, "InvalidArgument") && /201 objects/.test(error.message));
  const large = store.update((tx) => tx.services.create(service("s1", "x".repeat(1_600_000))));
  await assert.rejects(large, (error) => isSwarmError(error, "InvalidArgument"));
  assert.equal(proposer.log.length, 0);
  await store.update((tx) => {
    const spec = wholeTask(Task.create()).spec;
    const long = (id: string): WholeTask => ({
      ...task(id),
      spec: { ...spec, container: { ...spec.container, dir: "x".repeat(500_000) } },
    });
    tx.tasks.create(long("t1"));
    assert.ok(tx.fits(200, [long("t2")]));
    tx.tasks.create(long("t2"));
    assert.ok(!tx.fits(200, [long("t3")]), "bytes");
    assert.ok(!tx.fits(2, [task("t4")]), "objects");
    assert.ok(tx.fits(2, [long("t1")]), "an object that is written again costs nothing more");
  });
});

test("transactions build on earlier ones that are on their way, and commit in order", async () => {
  const { store, proposer } = makeStore();
  proposer.hold = true;
  const first = store.update((tx) => tx.services.create(service("s1", "one")));
  const second = store.update((tx) => rename(tx, { id: "s1", to: "two" }));
  const third = store.update((tx) => tx.services.get("s1")?.spec.name);
  assert.equal(proposer.held, 2);
  proposer.commit(1);
  await first;
  assert.equal(store.view().services.get("s1")?.spec.name, "one");
  proposer.commit(1);
  await second;
  assert.equal(await third, "two");
  assert.equal(store.view().services.get("s1")?.meta.version, 2);
});

test("what a later transaction on its way removed does not come back with the commit of an earlier one", async () => {
  const { store, proposer } = makeStore();
  proposer.hold = true;
  const made = store.update((tx) => tx.services.create(service("s1")));
  const removed = store.update((tx) => tx.services.remove("s1"));
  proposer.commit(1);
  await made;
  const seen = store.update((tx) => tx.services.get("s1"));
  proposer.commit();
  await removed;
  assert.equal(await seen, undefined);
});

test("of two updates that name the same version the later is refused, also while the first is on its way", async () => {
  const { store, proposer } = makeStore();
  await store.update((tx) => tx.services.create(service("s1", "one")));
  const version = store.view().services.get("s1")?.meta.version;
  proposer.hold = true;
  const change = (to: string): Promise<void> =>
    store.update((tx) => {
      if (tx.services.get("s1")?.meta.version !== version) throw new Error("update out of sequence");
      rename(tx, { id: "s1", to });
    });
  const first = change("two");
  const second = change("three");
  const refused = assert.rejects(second, /out of sequence/);
  proposer.commit();
  await first;
  await refused;
  assert.equal(store.view().services.get("s1")?.spec.name, "two");
});

test("what is dropped takes everything built on it with it, and can be tried again", async () => {
  const { store, proposer } = makeStore();
  await store.update((tx) => tx.services.create(service("s1", "one")));
  const before = contents(store.view());
  proposer.hold = true;
  const lost = [
    store.update((tx) => rename(tx, { id: "s1", to: "two" })),
    store.update((tx) => tx.tasks.create(task("t1"))),
    store.update((tx) => tx.services.remove("s1")),
  ];
  proposer.fail("dropped");
  for (const each of lost) await assert.rejects(each, (error) => isSwarmError(error, "Unavailable"));
  assert.deepEqual(contents(store.view()), before);
  proposer.hold = false;
  await store.update((tx) => {
    assert.equal(tx.services.get("s1")?.spec.name, "one");
    tx.tasks.create(task("t1"));
  });
  assert.ok(store.view().tasks.get("t1"));
});

test("an ambiguous change is reported as one that may have happened", async () => {
  const { store, proposer } = makeStore();
  proposer.hold = true;
  const lost = store.update((tx) => tx.services.create(service("s1")));
  proposer.fail("ambiguous");
  await assert.rejects(lost, (error) => isSwarmError(error, "Internal") && /may or may not/.test(error.message));
});

test("watchers get every commit once, in order, with old and new", async () => {
  const { store } = makeStore();
  const seen: StoreCommit[] = [];
  const stop = store.subscribe((commit) => void seen.push(commit));
  await store.update((tx) => {
    tx.services.create(service("s1", "one"));
    tx.tasks.create(task("t1", { nodeId: "n1" }));
  });
  await store.update((tx) => rename(tx, { id: "s1", to: "two" }));
  await store.update((tx) => tx.tasks.remove("t1"));
  await store.update(() => "nothing");
  stop();
  await store.update((tx) => tx.services.remove("s1"));
  assert.deepEqual(
    seen.map(({ version, events }) => [version, events.map(({ kind, action }) => `${action} ${kind}`)]),
    [
      [1, ["create service", "create task"]],
      [2, ["update service"]],
      [3, ["remove task"]],
    ],
  );
  const renamed = seen[1]?.events[0];
  assert.ok(renamed?.kind === "service");
  assert.deepEqual([renamed.old?.spec.name, renamed.object.spec.name], ["one", "two"]);
  const removed = seen[2]?.changes[0];
  assert.equal(removed?.action, StoreChange_Action.REMOVE);
  assert.ok(removed.object?.$case === "task");
  assert.equal(removed.object.value.nodeId, "n1", "watchers learn where a removed task was");
});

test("a state restored in mid-life reaches watchers as the difference, and readers keep their view", async () => {
  const { store: leader } = makeStore();
  const { store: follower, proposer } = makeStore();
  await leader.update((tx) => ["kept", "changed", "removed"].forEach((id) => tx.services.create(service(id))));
  follower.restore(Buffer.concat([...leader.save()]), leader.version);
  const view = follower.view();
  const kept = view.services.get("kept");
  const commits: StoreCommit[] = [];
  follower.subscribe((commit) => commits.push(commit));
  await leader.update((tx) => {
    rename(tx, { id: "changed", to: "other" });
    tx.services.remove("removed");
    tx.tasks.create(task("t1", { serviceId: "kept" }));
  });
  proposer.hold = true;
  const overtaken = follower.update((tx) => tx.services.create(service("overtaken")));
  follower.restore(Buffer.concat([...leader.save()]), leader.version);
  proposer.fail("ambiguous");
  await assert.rejects(overtaken, { code: "Internal" });
  assert.deepEqual(
    commits.map((commit) => [commit.version, commit.events.map((each) => `${each.action} ${each.object.id}`).sort()]),
    [[2, ["create t1", "remove removed", "update changed"]]],
  );
  assert.equal(view.services.get("kept"), kept);
  assert.equal(view.services.byName("other").length, 1);
  assert.deepEqual(contents(view), contents(leader.view()));
  follower.restore(Buffer.concat([...leader.save()]), 9);
  assert.deepEqual([commits.length, follower.version], [1, 9], "a state without a difference tells nobody");
});

test("a store without a log takes no changes", async () => {
  const store = new Store({ now: () => NOW });
  await assert.rejects(
    store.update((tx) => tx.services.create(service("s1"))),
    (error) => isSwarmError(error, "Unavailable"),
  );
});

test("more updates than the log keeps up with wait their turn, and too many are refused", async () => {
  const { store, proposer } = makeStore();
  proposer.hold = true;
  const updates = Array.from({ length: 600 }, (_, each) => store.update((tx) => tx.tasks.create(task(`t${each}`))));
  assert.equal(proposer.held, 512);
  const waiting = Array.from({ length: 10_000 - 88 }, () => store.update(() => undefined));
  await assert.rejects(
    store.update(() => undefined),
    (error) => isSwarmError(error, "ResourceExhausted"),
  );
  proposer.hold = false;
  proposer.commit();
  await Promise.all([...updates, ...waiting]);
  assert.equal(store.view().tasks.all().length, 600);
  assert.equal(proposer.log.length, 600);
});

type Action = { readonly kind: "service" | "task"; readonly id: string; readonly to: string; readonly remove: boolean };

const actions: fc.Arbitrary<readonly Action[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("service", "task"),
    id: fc.constantFrom("a", "b", "c", "d"),
    to: fc.constantFrom("x", "y", "z"),
    remove: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
);

function play(tx: WriteTx, steps: readonly Action[]): void {
  for (const { kind, id, to, remove } of steps) {
    if (kind === "service") {
      if (remove && tx.services.get(id) !== undefined) tx.services.remove(id);
      else if (tx.services.get(id) === undefined) tx.services.create(service(id, to));
      else rename(tx, { id, to });
    } else {
      const key = `t${id}`;
      if (remove && tx.tasks.get(key) !== undefined) tx.tasks.remove(key);
      else if (tx.tasks.get(key) === undefined) tx.tasks.create(task(key, { nodeId: to }));
      else tx.tasks.update({ ...task(key, { serviceId: to }) });
    }
  }
}

/** Every index must say what a look through all tasks says. */
function checkIndexes(view: ReadTx): void {
  const all = view.tasks.all();
  const ids = (tasks: readonly WholeTask[]): string[] => tasks.map(({ id }) => id).sort();
  for (const key of ["", "s1", "x", "y", "z"]) {
    assert.deepEqual(ids(view.tasks.byNode(key)), ids(all.filter((each) => each.nodeId === key)));
    assert.deepEqual(ids(view.tasks.byService(key)), ids(all.filter((each) => each.serviceId === key)));
  }
}

test("whatever is written, committed and dropped, the log, a snapshot and the store tell the same", async () => {
  const round = fc.record({
    updates: fc.array(actions, { minLength: 1, maxLength: 5 }),
    commits: fc.nat(5),
    saveAfter: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(round, { maxLength: 8 }), async (rounds) => {
      const { store, proposer } = makeStore();
      let saved: { readonly pieces: Iterable<Uint8Array>; readonly version: number } | undefined;
      for (const { updates, commits, saveAfter } of rounds) {
        proposer.hold = true;
        const done = Promise.allSettled(updates.map((steps) => store.update((tx) => play(tx, steps))));
        proposer.commit(commits);
        proposer.fail("dropped");
        await done;
        if (saveAfter) saved = { pieces: store.save(), version: store.version };
      }
      checkIndexes(store.view());
      proposer.hold = false;
      await store.update((tx) => checkIndexes(tx));
      const replayed = new Store({ now: () => NOW });
      if (saved !== undefined) replayed.restore(Buffer.concat([...saved.pieces]), saved.version);
      for (const [at, changes] of proposer.log.entries())
        if (at + 1 > (saved?.version ?? 0)) replayed.apply(changes, at + 1);
      assert.deepEqual(contents(replayed.view()), contents(store.view()));
      assert.equal(replayed.version, store.version);
    }),
    { numRuns: 150 },
  );
});

for (const fate of ["dropped", "ambiguous"] as const) {
  test(`nothing is said on the word of a change on its way that is ${fate}`, async () => {
    const { store, proposer } = makeStore();
    await store.update((tx) => tx.services.create(service("s1")));
    proposer.hold = true;
    const removal = store.update((tx) => tx.services.remove("s1"));
    const refused = store.update((tx) => rename(tx, { id: "s1", to: "web" }));
    const idle = store.update((tx) => {
      if (tx.services.get("s1") !== undefined) tx.services.remove("s1");
    });
    const refusedInTx = store.update((tx) => tx.services.remove("s1"));
    const results = Promise.allSettled([removal, refused, idle, refusedInTx]);
    proposer.fail(fate);
    const [first, ...others] = await results;
    assert.equal(first.status, "rejected");
    for (const other of others)
      assert.ok(
        other.status === "rejected" && isNotTaken(other.reason),
        "it may be tried again, and s1 is still there",
      );
    assert.notEqual(store.view().services.get("s1"), undefined);
    proposer.hold = false;
    await store.update((tx) => rename(tx, { id: "s1", to: "web" }));
  });
}
