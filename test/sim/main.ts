// `npm run sim -- SEED` replays one simulation and prints what happens in it. `npm run sim -- --seeds 1000 [--from 1]` runs many, on
// every processor, and prints the first that fails; `--twice 5` runs every fifth one again and compares, `--regressions` begins
// with those that once failed. `--scale` measures placing among thousands of nodes. What a run does depends on its seed alone.

import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { defined } from "../../proto/base/assert.ts";
import { REGRESSIONS } from "./regressions.ts";
import { runScale } from "./scale-run.ts";
import { type Outcome, simulate } from "./simulation.ts";

interface Job {
  readonly seeds: readonly number[];
  /** Every so many seeds are run a second time, which must give the same run; 0: none. */
  readonly twice: number;
}

interface Report {
  readonly seed: number;
  readonly outcome: Outcome;
}

/** A failed run's trace that is shown without asking for all of it. */
const LINES_SHOWN = 40;
const PROGRESS_EVERY = 100;
/** What three semi-spaces of --max-semi-space-size=4, which deploy/bin/tsswarmd has, come to. */
const YOUNG_MB = 12;

async function runOne(seed: number, { twice }: Pick<Job, "twice">): Promise<Report> {
  const outcome = await simulate({ seed });
  if (twice === 0 || seed % twice !== 0 || outcome.violation !== undefined) return { seed, outcome };
  const again = await simulate({ seed });
  const isSame = again.hash === outcome.hash && again.events === outcome.events;
  return { seed, outcome: isSame ? outcome : { ...outcome, violation: "the same seed gives another run" } };
}

async function work({ seeds, twice }: Job): Promise<void> {
  for (const seed of seeds) defined(parentPort, "the parent").postMessage(await runOne(seed, { twice }));
}

/** Runs the seeds on several threads. The failed ones, lowest first; it stops soon after the first. */
async function many(job: Job): Promise<readonly Report[]> {
  const threads = Math.min(availableParallelism(), 8, job.seeds.length);
  const failed: Report[] = [];
  const sum = {
    runs: 0,
    events: 0,
    simulatedMs: 0,
    acknowledged: 0,
    reads: 0,
    ambiguous: 0,
    elections: 0,
    unknownVerdicts: 0,
  };
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: threads }, async (_, thread) => {
      const seeds = job.seeds.filter((_seed, place) => place % threads === thread);
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { ...job, seeds } satisfies Job });
      const ended = new Promise<void>((resolve, reject) => {
        worker.on("exit", () => resolve());
        worker.on("error", reject);
      });
      worker.on("message", ({ seed, outcome }: Report) => {
        sum.runs += 1;
        for (const name of [
          "events",
          "simulatedMs",
          "acknowledged",
          "reads",
          "ambiguous",
          "elections",
          "unknownVerdicts",
        ] as const)
          sum[name] += outcome[name];
        if (outcome.violation !== undefined) failed.push({ seed, outcome });
        if (sum.runs % PROGRESS_EVERY === 0)
          console.log(`${sum.runs} of ${job.seeds.length} runs, ${failed.length} failed`);
        if (failed.length > 0) void worker.terminate();
      });
      await ended;
    }),
  );
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
  console.log(
    `${sum.runs} runs in ${seconds} s: ${Math.round(sum.simulatedMs / 1_000)} simulated seconds, ${sum.events} events, ${sum.elections} elections, ` +
      `${sum.acknowledged} acknowledged writes, ${sum.ambiguous} ambiguous, ${sum.reads} reads, ${sum.unknownVerdicts} histories not judged`,
  );
  return failed.sort((a, b) => a.seed - b.seed);
}

async function replay(seed: number): Promise<boolean> {
  const outcome = await simulate({ seed, onTrace: (line) => console.log(line) });
  const { violation, ...rest } = outcome;
  console.log(JSON.stringify(rest));
  console.log(violation === undefined ? `seed ${seed}: everything held` : `seed ${seed} FAILED: ${violation}`);
  return violation === undefined;
}

async function show({ seed, outcome }: Report): Promise<void> {
  const lines: string[] = [];
  await simulate({ seed, onTrace: (line) => lines.push(line) });
  console.log(`seed ${seed} FAILED: ${outcome.violation ?? ""}`);
  console.log(lines.slice(-LINES_SHOWN).join("\n"));
  console.log(`all of it: npm run sim -- ${seed}`);
}

/** In a thread with the heap of a daemon. */
async function scale(): Promise<boolean> {
  const options = {
    workerData: "scale",
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB, maxOldGenerationSizeMb: 4_096 },
  };
  const worker = new Worker(fileURLToPath(import.meta.url), options);
  return new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: "string" },
      from: { type: "string", default: "1" },
      twice: { type: "string", default: "0" },
      regressions: { type: "boolean", default: false },
      scale: { type: "boolean", default: false },
    },
  });
  if (values.scale) return scale();
  if (values.seeds === undefined) return replay(Number(positionals[0] ?? "1"));
  const from = Number(values.from);
  const drawn = Array.from({ length: Number(values.seeds) }, (_, place) => from + place);
  const seeds = [...new Set([...(values.regressions ? REGRESSIONS : []), ...drawn])];
  const [first] = await many({ seeds, twice: Number(values.twice) });
  if (first !== undefined) await show(first);
  return first === undefined;
}

if (isMainThread) process.exitCode = (await main()) ? 0 : 1;
else if (workerData === "scale") defined(parentPort, "the parent").postMessage(await runScale());
else await work(workerData as Job);
