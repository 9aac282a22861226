// What a node's own programs hold in memory: the shim of each container, and the daemon of a worker that has nothing to do,
// before and after containers came and went. Resident memory counts pages shared with other processes in full; the shim's
// share of them is in a row of its own.

import { systemClock } from "../../proto/base/clock.ts";
import { placesOf } from "../../deploy/lab/lab.ts";
import { BenchLab } from "./support/bench-lab.ts";
import { median, ratioOf, rounded } from "./support/figures.ts";
import { memoryOf, pidsOf } from "./support/memory-of.ts";
import type { Bench } from "./main.ts";

const IDLE_MS = 30_000;
const CONTAINERS = 50;
const ON_WORKER = ["--constraint", "node.hostname==w1"];

export const bench: Bench = (signal) =>
  BenchLab.with(
    { name: "mem", workers: 1 },
    async (lab) => {
      const daemon = lab.pidOf("w1");
      await systemClock.sleep(IDLE_MS, signal);
      const before = rounded(memoryOf(daemon).residentMb);
      await lab.timeService({ name: "many", replicas: CONTAINERS, flags: ON_WORKER }, signal);
      const shims = pidsOf("tsswarm-shim", placesOf(lab.lab.name, "w1").stateDir).map(memoryOf);
      if (shims.length !== CONTAINERS) throw new Error(`${CONTAINERS} shims are expected, ${shims.length} are there`);
      await lab.remove("many", signal);
      await systemClock.sleep(IDLE_MS, signal);
      const after = rounded(memoryOf(daemon).residentMb);
      const row = { unit: "MB", runs: 1 };
      const shim = (what: string, values: readonly number[]): typeof row & { what: string; ours: number } => ({
        ...row,
        what,
        ours: rounded(median(values)),
        runs: CONTAINERS,
      });
      return [
        shim(
          "shim of a running container, resident",
          shims.map((each) => each.residentMb),
        ),
        shim(
          "shim of a running container, its share",
          shims.map((each) => each.shareMb),
        ),
        { ...row, what: "daemon of an idle worker", ours: before },
        {
          ...row,
          what: `daemon of a worker after ${CONTAINERS} containers`,
          ours: after,
          peer: before,
          peer_name: "itself before",
          ratio: ratioOf({ ours: after, peer: before }),
        },
      ];
    },
    signal,
  );
