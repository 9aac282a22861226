// The parts around the core, each alone: ticks, when a leader should hand over, proposals in the store's contract; and that a
// seed replays a group to the letter.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry } from "raft-ts";
import type { Clock } from "../../../proto/base/clock.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { StoreChanges } from "../../../proto/gen/control.ts";
import { Gathering } from "../../../manager/replication/gathering.ts";
import { HandOver, type LeaderHealth } from "../../../manager/replication/hand-over.ts";
import { NO_MEMBERSHIP } from "../../../manager/replication/membership.ts";
import { Proposals, type Submitted } from "../../../manager/replication/proposals.ts";
import { newRaftId } from "../../../manager/replication/raft-id.ts";
import { TICK_MS, Ticker } from "../../../manager/replication/ticker.ts";
import { LogGroup } from "../../support/log-group.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const CHANGES: StoreChanges = { changes: [], atMs: 7 };

test("ticks come at their pace", async () => {
  const clock = new ManualClock();
  const late: number[] = [];
  const ticker = new Ticker({ clock, onTick: (lateMs) => late.push(lateMs) });
  ticker.start();
  await clock.advance(10 * TICK_MS);
  assert.deepEqual(late, new Array(10).fill(0));
  ticker.stop();
  assert.equal(clock.pending, 0);
});

test("a late wake-up is one tick, and it comes after what waited in the sockets", () => {
  let nowMs = 0;
  const timers: (() => void)[] = [];
  const late: number[] = [];
  const clock: Clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.reject(new Error("nothing sleeps here")),
    after: (_ms, action) => {
      timers.push(action);
      return () => undefined;
    },
  };
  const fire = (): void => timers.shift()?.();
  const ticker = new Ticker({ clock, onTick: (lateMs) => late.push(lateMs) });
  ticker.start();
  nowMs = 5 * TICK_MS;
  fire();
  assert.equal(late.length, 0);
  fire();
  assert.deepEqual(late, [4 * TICK_MS]);
  assert.equal(timers.length, 1, "the next one is an ordinary one");
  nowMs += TICK_MS;
  fire();
  assert.deepEqual(late, [4 * TICK_MS, 0]);
  ticker.stop();
});

test("a leader hands over for a slow loop, a slow or a full disk, and not again at once", async () => {
  const clock = new ManualClock();
  const well: LeaderHealth = { loopDelayMs: 5, appendSinceMs: undefined, full: undefined };
  const judge = new HandOver(clock);
  assert.equal(judge.check(well), undefined);
  for (let tick = 0; tick < 4; tick += 1) assert.equal(judge.check({ ...well, loopDelayMs: 400 }), undefined);
  assert.match(judge.check({ ...well, loopDelayMs: 400 }) ?? "", /event loop is held up for 400 ms/);
  assert.equal(judge.check(well), undefined, "once it runs again, it may lead");
  assert.match(judge.check({ ...well, full: "no space left" }) ?? "", /no space left/);
  const since = clock.monotonicMs();
  await clock.advance(1_001);
  assert.match(judge.check({ ...well, appendSinceMs: since }) ?? "", /more than 1000 ms/);
  for (let append = 0; append < 20; append += 1) judge.appended(500);
  assert.match(judge.check(well) ?? "", /writes to its disk take 4\d\d ms/);
  for (let append = 0; append < 20; append += 1) judge.appended(1);
  assert.equal(judge.check(well), undefined);
  assert.ok(judge.mayTry());
  assert.ok(!judge.mayTry());
  await clock.advance(10_000);
  assert.ok(judge.mayTry());
  await clock.advance(10_000);
  assert.ok(!judge.mayTry(), "each further try waits longer");
});

function entryAt(index: number, term: number): Entry {
  return { index, term, type: 0, data: new Uint8Array([1]) };
}

function proposalsOver(outcomes: Submitted[]): { readonly proposals: Proposals; readonly clock: ManualClock } {
  const clock = new ManualClock();
  const proposals = new Proposals({
    clock,
    refusal: () => undefined,
    submit: () => outcomes.shift() ?? { kind: "dropped", reason: "nothing more is taken" },
    shouldWait: () => false,
    wake: () => undefined,
  });
  return { proposals, clock };
}

test("proposals of one turn enter the log as one batch and are told in its order", async () => {
  const { proposals } = proposalsOver([{ kind: "taken", firstIndex: 5, term: 2 }]);
  const order: string[] = [];
  const results = [1, 2, 3].map((number) =>
    proposals
      .propose(CHANGES, (index) => order.push(`commit ${number} at ${index}`))
      .then((result) => order.push(`${number} is ${result.kind}`)),
  );
  proposals.flush();
  assert.equal(proposals.inFlight, 3);
  for (const index of [5, 6, 7]) assert.ok(proposals.committed(entryAt(index, 2)));
  await Promise.all(results);
  assert.deepEqual(order.slice(0, 3), ["commit 1 at 5", "commit 2 at 6", "commit 3 at 7"]);
  assert.deepEqual(order.slice(3), ["1 is committed", "2 is committed", "3 is committed"]);
});

test("another's entry in the place of a proposal makes all that are in flight ambiguous", async () => {
  const { proposals } = proposalsOver([{ kind: "taken", firstIndex: 5, term: 2 }]);
  const mine = proposals.propose(CHANGES, () => assert.fail("it is not committed"));
  proposals.flush();
  assert.ok(!proposals.committed(entryAt(5, 3)));
  assert.equal((await mine).kind, "ambiguous");
});

test("what is proposed before a dropped proposal's maker can know is dropped too", async () => {
  const taken: Submitted = { kind: "taken", firstIndex: 9, term: 2 };
  const { proposals } = proposalsOver([{ kind: "dropped", reason: "it was refused" }, taken]);
  const first = proposals.propose(CHANGES, () => undefined);
  proposals.flush();
  const second = proposals.propose(CHANGES, () => undefined);
  assert.deepEqual(await second, { kind: "dropped", reason: "it was refused" });
  assert.deepEqual(await first, { kind: "dropped", reason: "it was refused" });
  for (let hop = 0; hop < 10; hop += 1) await Promise.resolve();
  const third = proposals.propose(CHANGES, () => undefined);
  proposals.flush();
  assert.ok(proposals.committed(entryAt(9, 2)));
  assert.equal((await third).kind, "committed");
});

test("after proposals were given up in a term that goes on, nothing is taken until they are applied", async () => {
  const { proposals, clock } = proposalsOver([{ kind: "taken", firstIndex: 5, term: 2 }]);
  const late = proposals.propose(CHANGES, () => assert.fail("it was given up"));
  proposals.flush();
  await clock.advance(10_000);
  proposals.expire(clock.monotonicMs());
  assert.equal((await late).kind, "ambiguous");
  await clock.advance(1);
  const during = await proposals.propose(CHANGES, () => undefined);
  assert.ok(during.kind === "dropped" && /not known yet what became/.test(during.reason));
  assert.ok(!proposals.committed(entryAt(5, 2)), "it is applied as anybody's");
  proposals.advance({ applied: 5, term: 2 });
  await clock.advance(1);
  void proposals.propose(CHANGES, () => undefined);
  proposals.flush();
});

test("proposals wait for the end of a write of the own disk, but not for a slow one", async () => {
  const clock = new ManualClock();
  let sinceMs: number | undefined;
  let turns = 0;
  const gathering = new Gathering({ clock, busySinceMs: () => sinceMs, wake: () => (turns += 1) });
  assert.ok(!gathering.shouldWait(), "the disk is free");
  sinceMs = clock.monotonicMs();
  await clock.advance(4);
  assert.ok(gathering.shouldWait() && gathering.shouldWait());
  await clock.advance(5);
  assert.equal(turns, 0);
  await clock.advance(1);
  assert.equal(turns, 1, "one turn comes for all that waited");
  assert.ok(!gathering.shouldWait(), "the write has taken 10 ms");
  sinceMs = clock.monotonicMs();
  assert.ok(gathering.shouldWait());
  gathering.stop();
  await clock.advance(100);
  assert.equal(turns, 1, "nothing is left behind");
});

test("proposals wait whole milliseconds: clocks that round would bring up the same fraction for ever", () => {
  const clock = new ManualClock();
  const waits: number[] = [];
  const after: Clock["after"] = (ms) => {
    waits.push(ms);
    return () => undefined;
  };
  clock.after = after;
  const busySinceMs = (): number => clock.monotonicMs() - 9.75;
  const gathering = new Gathering({ clock, busySinceMs, wake: () => undefined });
  assert.ok(gathering.shouldWait());
  assert.deepEqual(waits, [1]);
});

test("raft ids are drawn from the whole range and never drawn again", () => {
  const random = seededRandom(5);
  const first = newRaftId(random, NO_MEMBERSHIP);
  assert.ok(first > 2 ** 40, "a small one would be a rare draw");
  const again = newRaftId(seededRandom(5), { ...NO_MEMBERSHIP, removed: [first] });
  assert.notEqual(again, first);
});

test("the same seed replays the same decisions", async () => {
  const runs: string[] = [];
  for (let run = 0; run < 2; run += 1) {
    const group = await LogGroup.of(3, { seed: 77 });
    try {
      const { raftId } = group.lead().self;
      assert.equal(await group.write(group.lead()), "committed");
      const killed = group.kill(raftId);
      await group.until("another one leads", () => group.leader !== undefined);
      assert.equal(await group.write(group.lead()), "committed");
      await group.restart(killed);
      await group.clock.advance(2_000);
      runs.push(JSON.stringify([...group.members.values()].map(({ trace }) => trace)));
    } finally {
      await group.close();
    }
  }
  assert.equal(runs[0], runs[1]);
});
