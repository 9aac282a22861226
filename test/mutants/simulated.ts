// `npm run mutants:driver`: breaks a copy of the manager in every way of the driver's list, lets the simulator run on it, and says which
// seed found what. Fails where one lives. `-- word` runs those whose sentence holds the word; `-- --core` does the same
// with the core's mutants, which the Raft tests have to find on their own.

import { spawnSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { applyMutant } from "./apply.ts";
import { DRIVER_MUTANTS } from "./driver-mutants.ts";
import { MUTANTS, type Mutant } from "./mutants.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** What the simulator needs of the tree. */
const COPIED = [
  "package.json",
  "manager",
  "proto",
  "test/sim",
  "test/support",
  "test/unit/manager",
  "test/raft/support",
];
/** What it leaves alive, these may find. */
const UNIT_TESTS = "test/unit/manager/{raft-storage,replicat,proposals,reads,append,seal,store,group}*.test.ts";
/** A mutant that makes a run hang is caught by this. */
const TIMEOUT_MS = 600_000;

interface Verdict {
  readonly isCaught: boolean;
  readonly how: string;
}

/** `sound`: the tree as it was at the start, so that whoever works on meanwhile changes nothing. */
function simulateMutant(
  mutant: Mutant,
  options: { readonly sound: string; readonly below: string; readonly seeds: string },
): Verdict {
  const folder = mkdtempSync(join(tmpdir(), "manager-mutant-"));
  try {
    cpSync(options.sound, folder, { recursive: true });
    linkPackages(folder);
    applyMutant(mutant, join(folder, options.below));
    const args = ["test/sim/main.ts", "--seeds", options.seeds, "--regressions"];
    const run = spawnSync(process.execPath, args, {
      cwd: folder,
      encoding: "utf8",
      timeout: TIMEOUT_MS,
      maxBuffer: 2 ** 28,
    });
    if (run.signal !== null) return { isCaught: true, how: "a run that never ends" };
    if (run.status === 0) return unitTests(folder);
    const [line = run.stderr.split("\n", 8).join(" ")] = /^seed \d+ FAILED: .*$/m.exec(run.stdout) ?? [];
    return { isCaught: run.status !== 0, how: line.slice(0, 240) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function unitTests(folder: string): Verdict {
  const files = globSync(UNIT_TESTS, { cwd: folder });
  const args = ["--test", "--test-isolation=none", "--test-reporter=tap", ...files];
  const run = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 2 ** 28,
  });
  const [, name = ""] = /^not ok \d+ - (.*)$/m.exec(run.stdout) ?? [];
  return { isCaught: run.status !== 0, how: `not by the simulator${name === "" ? "" : `; by the test that ${name}`}` };
}

/** Every package but raft-ts, which is to be the copy's. */
function linkPackages(folder: string): void {
  mkdirSync(join(folder, "node_modules"));
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    const target = name === "raft-ts" ? join(folder, "manager/raft") : join(ROOT, "node_modules", name);
    symlinkSync(target, join(folder, "node_modules", name));
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { core: { type: "boolean", default: false }, seeds: { type: "string", default: "300" } },
});
const list = values.core ? MUTANTS : DRIVER_MUTANTS;
const below = values.core ? "manager/raft" : "manager";
const chosen = list.filter(({ it }) => positionals.every((word) => it.includes(word)));
const sound = mkdtempSync(join(tmpdir(), "manager-sound-"));
let alive = 0;
try {
  for (const path of COPIED) cpSync(join(ROOT, path), join(sound, path), { recursive: true });
  for (const mutant of chosen) {
    const { isCaught, how } = simulateMutant(mutant, { sound, below, seeds: values.seeds });
    if (!isCaught) alive += 1;
    console.log(`${isCaught ? "caught" : "ALIVE "}  it ${mutant.it}\n    ${how}`);
  }
} finally {
  rmSync(sound, { recursive: true, force: true });
}
console.log(`\n${chosen.length - alive} of ${chosen.length} mutants caught`);
process.exitCode = alive === 0 ? 0 : 1;
