// `npm run mutants`: breaks a copy of the core in every way of the list, runs the Raft tests there, and says what caught
// each. Fails where a mutant lives: a rule of Raft that no test holds the core to. `npm run mutants -- word` runs those
// whose sentence holds the word. The tree itself is not touched.

import { spawnSync } from "node:child_process";
import { cpSync, globSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { applyMutant } from "./apply.ts";
import { MUTANTS, type Mutant } from "./mutants.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** What the Raft tests need of the tree. */
const COPIED = ["package.json", "manager/raft", "test/raft", "test/conformance"];
/** A mutant that makes a test run for ever is caught by this. Far above what the tests take. */
const TIMEOUT_MS = 120_000;
const TESTS = ["test/raft/*.test.ts", "test/conformance/{interaction,quorum,membership}.test.ts"];
/** This one compares the list with the code, and the code is edited. */
const NOT_COUNTED = "mutants.test.ts";

interface Verdict {
  /** The names of failed tests, by test file. */
  readonly failed: ReadonlyMap<string, readonly string[]>;
  readonly isHanging: boolean;
}

function runTests(mutant: Mutant | null): Verdict {
  const folder = mkdtempSync(join(tmpdir(), "raft-mutant-"));
  try {
    for (const path of COPIED) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    if (mutant !== null) applyMutant(mutant, join(folder, "manager/raft"));
    const files = globSync(TESTS, { cwd: folder }).filter((file) => basename(file) !== NOT_COUNTED);
    const data = resolve(ROOT, process.env["RAFT_CONFORMANCE_DIR"] ?? "../shared/conformance");
    const run = spawnSync(
      process.execPath,
      ["--test", "--test-isolation=none", "--test-reporter=tap", ...files.sort()],
      {
        cwd: folder,
        encoding: "utf8",
        timeout: TIMEOUT_MS,
        maxBuffer: 256 * 1024 * 1024,
        env: { ...process.env, CI: "", RAFT_CONFORMANCE_DIR: data },
      },
    );
    if (run.error !== undefined && run.signal === null) throw run.error;
    return { failed: failedTests(run.stdout), isHanging: run.signal !== null };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Reads the failed tests and their files out of the report. */
function failedTests(tap: string): ReadonlyMap<string, readonly string[]> {
  const failed = new Map<string, string[]>();
  for (const [, name = "", path = "unknown"] of tap.matchAll(
    /^not ok \d+ - (.*)\n[\s\S]*?location: '([^']*?):\d+:\d+'/gm,
  )) {
    const file = basename(path);
    failed.set(file, [...(failed.get(file) ?? []), name]);
  }
  return failed;
}

function words(verdict: Verdict): string {
  if (verdict.isHanging) return "    a test that never ends";
  const lines = [...verdict.failed].map(([file, [first = "", ...more]]) => {
    return `    ${file}: ${first}${more.length === 0 ? "" : ` (and ${more.length} more)`}`;
  });
  return lines.join("\n");
}

const sound = runTests(null);
if (sound.isHanging || sound.failed.size > 0) {
  console.error(`the tests fail without any mutant:\n${words(sound)}`);
  process.exit(1);
}
const wanted = process.argv.slice(2);
const chosen = MUTANTS.filter(({ it }) => wanted.every((word) => it.includes(word)));
const alive: Mutant[] = [];
for (const mutant of chosen) {
  const verdict = runTests(mutant);
  const isCaught = verdict.isHanging || verdict.failed.size > 0;
  if (!isCaught) alive.push(mutant);
  console.log(`${isCaught ? "caught" : "ALIVE "}  it ${mutant.it}`);
  if (isCaught) console.log(words(verdict));
}
console.log(`\n${chosen.length - alive.length} of ${chosen.length} mutants caught`);
process.exit(alive.length === 0 ? 0 : 1);
