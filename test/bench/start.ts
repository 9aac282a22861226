// How long a container takes from its creation to its removal, running `true`: ours through the native room against `crun run` of an
// equal bundle, interleaved. The bundle has an overlay root, a cgroup with limits, the default seccomp profile and namespaces of its
// own. The peer finds its overlay mounted already and is started by a small shell, so nothing of Node's is in its time.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { type ContainerRuntime, defaultSeccomp, openCgroups, openContainerRuntime } from "../../native/index.ts";
import type { RuntimeSpec } from "../../native/index.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { MASKED, type TestBed, makeTestBed, newId, tinySpec } from "../container/support/tiny-root.ts";
import { median, ratioOf, rounded } from "./support/figures.ts";
import type { Bench } from "./main.ts";

const RUNS = 31;
const WARM_UP = 3;

export const bench: Bench = async (signal) => {
  const bed = makeTestBed();
  const peer = startPeer(bed);
  try {
    const runtime = openContainerRuntime({ clock: systemClock });
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let run = -WARM_UP; run < RUNS; run++) {
      const mine = await timeOurs(runtime, bed, signal);
      const other = await peer.run();
      if (run < 0) continue;
      ours.push(mine);
      theirs.push(other);
    }
    const row = {
      what: "container start",
      unit: "ms",
      ours: rounded(median(ours)),
      peer: rounded(median(theirs)),
      peer_name: "crun",
      runs: RUNS,
    };
    return [{ ...row, ratio: ratioOf(row) }];
  } finally {
    await peer.close();
    await openCgroups().removeTree(bed.cgroupParent, signal);
    bed.remove();
  }
};

function benchSpec(place: { readonly id: string; readonly dir: string; readonly cgroupParent: string }): RuntimeSpec {
  const capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"];
  return tinySpec(place, {
    args: ["true"],
    process: {
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    linux: {
      seccomp: defaultSeccomp({ capabilities }),
      resources: { pids: { limit: 100 }, memory: { limit: 64 * 1024 * 1024 }, cpu: { shares: 512 } },
      maskedPaths: MASKED,
    },
  });
}

async function timeOurs(runtime: ContainerRuntime, bed: TestBed, signal: AbortSignal): Promise<number> {
  const id = newId();
  const dir = bed.dirOf(id);
  const spec = benchSpec({ id, dir, cgroupParent: bed.cgroupParent });
  const log = { path: join(dir, "log"), maxBytes: 1_000_000, maxFiles: 2 };
  const startedMs = systemClock.monotonicMs();
  const container = await runtime.create({ id, dir, runDir: bed.runDir, spec, layers: [bed.layer], log }, signal);
  await container.start(signal);
  const exit = await container.wait(signal);
  await container.remove(signal);
  const tookMs = systemClock.monotonicMs() - startedMs;
  if (exit.code !== 0) throw new Error(`our container ended with ${exit.code}`);
  return tookMs;
}

interface Peer {
  /** Milliseconds of one `crun run`. */
  run(): Promise<number>;
  close(): Promise<void>;
}

/** crun refuses hybrid cgroups: it runs in a mount namespace of its own, without the unified hierarchy. */
function startPeer(bed: TestBed): Peer {
  const bundle = join(bed.base, "bundle");
  const root = join(bundle, "rootfs");
  for (const folder of [root, join(bundle, "upper"), join(bundle, "work")]) mkdirSync(folder, { recursive: true });
  const spec = benchSpec({ id: "peer", dir: bundle, cgroupParent: bed.cgroupParent });
  writeFileSync(join(bundle, "config.json"), JSON.stringify({ ...spec, root: { path: "rootfs" } }));
  const shell = spawn("unshare", ["-m", "sh", "-c", PEER_SCRIPT, "sh", bed.layer, bundle], { stdio: "pipe" });
  shell.stderr.pipe(process.stderr);
  const lines = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
  let count = 0;
  return {
    run: async () => {
      const startedMs = systemClock.monotonicMs();
      shell.stdin.write(`tsswarm-bench-${process.pid}-${count++}\n`);
      const line = await lines.next();
      const tookMs = systemClock.monotonicMs() - startedMs;
      if (line.value !== "0") throw new Error(`crun run ended with ${String(line.value)}`);
      return tookMs;
    },
    close: () => closed(shell),
  };
}

const PEER_SCRIPT = `
umount /sys/fs/cgroup/unified 2>/dev/null
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work,volatile" "$2/rootfs" || exit 1
while read -r id; do
  crun --root "$2/state" --cgroup-manager cgroupfs run --bundle "$2" "$id" </dev/null >/dev/null
  echo $?
done`;

function closed(shell: ChildProcessWithoutNullStreams): Promise<void> {
  return new Promise((resolve) => {
    shell.on("close", () => resolve());
    shell.stdin.end();
    if (shell.exitCode !== null) resolve();
  });
}
