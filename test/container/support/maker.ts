// An agent in a process of its own, for tests that kill it: makes and starts one container, says so, and holds on to it.
// Arguments: id, folder, layer, run folder, cgroup parent, then the program.

import { join } from "node:path";

import { openContainerRuntime } from "../../../native/index.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { tinySpec } from "./tiny-root.ts";

const [id = "", dir = "", layer = "", runDir = "", cgroupParent = "", ...args] = process.argv.slice(2);
const signal = AbortSignal.timeout(60_000);
const container = await openContainerRuntime({ clock: systemClock }).create(
  {
    id,
    dir,
    runDir,
    spec: tinySpec({ id, dir, cgroupParent }, { args }),
    layers: [layer],
    log: { path: join(dir, "log"), maxBytes: 1_000_000, maxFiles: 3 },
  },
  signal,
);
await container.start(signal);
process.stdout.write(`started ${container.pid}\n`);
await container.wait(signal);
