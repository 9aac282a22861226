// Many containers started and removed in a row on one node: everything of the machine that they used is as it was before.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { daemonPid } from "../../deploy/lab/process.ts";
import { defined } from "../../proto/base/assert.ts";
import { eventually } from "./support/bound.ts";
import { leftovers } from "./support/leftovers.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "soak", workers: 0 });
const AT_ONCE = 40;
const ROUNDS = 5;
/** Threads of the pool, compiled code, the heap's usual size. */
const WARM_UP_ROUNDS = 3;
const GROWTH_MAX = 1.1;

interface Footprint {
  readonly threads: number;
  readonly descriptors: number;
  readonly memoryKib: number;
}

function footprint(): Footprint {
  const pid = defined(daemonPid(lab.lab, "m1"), "the daemon's pid");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return {
    threads: field("Threads"),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    memoryKib: field("VmRSS"),
  };
}

async function round(): Promise<void> {
  const flags = ["--replicas", String(AT_ONCE), "--stop-grace-period", "2s"];
  await lab.create("many", ...flags, "tsswarm/demo:1");
  await lab.untilRunning("many", AT_ONCE);
  await lab.remove("many");
  await eventually(
    () => (leftovers(lab.lab).length === 0 ? true : undefined),
    () => leftovers(lab.lab).join("\n"),
  );
}

test(`${AT_ONCE * ROUNDS} containers come and go, and the node is as before`, async () => {
  for (let count = 0; count < WARM_UP_ROUNDS; count += 1) await round();
  const before = footprint();
  const seen: Footprint[] = [];
  for (let count = 0; count < ROUNDS; count += 1) {
    await round();
    seen.push(footprint());
  }
  const history = JSON.stringify([before, ...seen]);
  const last = defined(seen.at(-1), "the last round");
  assert.ok(last.threads <= before.threads, history);
  assert.ok(last.descriptors <= before.descriptors, history);
  // What leaks is there after every round; what waits for the collector is not there after each of the last three.
  const memoryKib = Math.min(...seen.slice(-3).map((each) => each.memoryKib));
  assert.ok(memoryKib <= before.memoryKib * GROWTH_MAX, history);
});
