// Random runs of the core alone, each from a seed: what Raft promises holds after every step, and once the faults
// stop the group agrees. A failing seed is replayed with RAFT_SEED=n; RAFT_SEEDS=n runs that many.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RandomGroup } from "./support/random-group.ts";

const STEPS = 3000;
const HEALING_TICKS = 120;
const only = process.env["RAFT_SEED"];
const count = Number(process.env["RAFT_SEEDS"] ?? 40);
const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];

function run(seed: number): RandomGroup {
  const group = new RandomGroup(seed);
  try {
    for (let i = 0; i < STEPS; i++) group.step();
    assert.ok(group.heal(HEALING_TICKS), "the group does not agree although every message arrives");
  } catch (error) {
    throw new Error(`seed ${seed} fails; RAFT_SEED=${seed} replays it`, { cause: error });
  }
  return group;
}

test(`${seeds.length} random runs keep every promise and agree in the end`, () => {
  let reads = 0;
  let elections = 0;
  for (const seed of seeds) {
    const group = run(seed);
    reads += group.answeredReads;
    elections += group.elections;
  }
  assert.ok(only !== undefined || (reads > 0 && elections > seeds.length), `${reads} reads, ${elections} elections`);
});

test("a seed runs twice the same way", () => {
  const [a, b] = [run(7), run(7)];
  assert.deepEqual(
    a.nodes.map((node) => node.raw.status()),
    b.nodes.map((node) => node.raw.status()),
  );
});
