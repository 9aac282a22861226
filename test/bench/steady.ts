// Five minutes of as many writes as three managers take: the leader stays. A leader that cannot keep up with its writes would miss its
// heartbeats, and the cluster would elect another one in the midst of its busiest time.

import { systemClock } from "../../proto/base/clock.ts";
import { BenchLab } from "./support/bench-lab.ts";
import { rounded } from "./support/figures.ts";
import { ManagerGroup } from "./support/manager-group.ts";
import type { Bench } from "./main.ts";

const MINUTES = 5;
const CLIENTS = 16;
const LOOK_EVERY_MS = 500;

export const bench: Bench = (signal) =>
  BenchLab.with(
    { name: "std", managers: 3, workers: 0 },
    async (lab) => {
      const group = new ManagerGroup(lab);
      try {
        const { leader } = await group.settled(signal);
        const endMs = systemClock.monotonicMs() + MINUTES * 60_000;
        let writes = 0;
        let changes = 0;
        const write = async (): Promise<void> => {
          const update = await group.updater(leader, signal);
          for (; systemClock.monotonicMs() < endMs; writes += 1) await update();
        };
        const watch = async (): Promise<void> => {
          for (let last = leader; systemClock.monotonicMs() < endMs;) {
            const now = await group.leading(signal);
            if (now !== last) changes += 1;
            last = now;
            await systemClock.sleep(LOOK_EVERY_MS, signal);
          }
        };
        await Promise.all([watch(), ...Array.from({ length: CLIENTS }, write)]);
        const what = `${MINUTES} minutes of writes, ${CLIENTS} at a time`;
        return [
          { what: `${what}: changes of the leader`, unit: "", ours: changes, runs: 1 },
          { what: `${what}: rate`, unit: "/s", ours: rounded(writes / (MINUTES * 60)), runs: 1 },
        ];
      } finally {
        group.close();
      }
    },
    signal,
  );
