// `npm test`: types, lint and format, then the tests from the cheapest to the most real. Every part runs even when one
// before it failed, and the closing lines say which did. `npm test -- unit` runs one part.

import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BIN = `${ROOT}node_modules/.bin`;

interface Part {
  readonly name: string;
  readonly command: readonly string[];
  /** Runs only where it is named: it takes long. */
  readonly onDemand?: boolean;
}

function tests(patterns: readonly string[], flags: readonly string[]): readonly string[] {
  const files = globSync([...patterns], { cwd: ROOT }).sort();
  return ["node", "--test", ...flags, ...files];
}

const PARTS: readonly Part[] = [
  { name: "types", command: ["tsc", "-b"] },
  { name: "lint", command: ["eslint", "--cache", "--cache-location", "node_modules/.cache/eslint", "."] },
  { name: "format", command: ["prettier", "--check", "--log-level", "warn", "."] },
  {
    name: "unit",
    command: tests(
      ["test/tidy.test.ts", "test/unit/**/*.test.ts", "test/raft/**/*.test.ts", "test/conformance/**/*.test.ts"],
      ["--test-isolation=none"],
    ),
  },
  { name: "sim", command: ["node", "test/sim/main.ts", "--seeds", "200", "--twice", "5", "--regressions"] },
  {
    name: "container",
    command: tests(["test/container/**/*.test.ts"], ["--test-concurrency=1", "--test-timeout=300000"]),
  },
  { name: "cluster", command: tests(["test/cluster/**/*.test.ts"], ["--test-concurrency=1", "--test-timeout=600000"]) },
  {
    name: "faults",
    command: tests(["test/faults/**/*.test.ts"], ["--test-concurrency=1", "--test-timeout=1800000"]),
    onDemand: true,
  },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !PARTS.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`no part ${unknown.join(", ")}; there are ${PARTS.map((part) => part.name).join(", ")}`);
  process.exit(1);
}

function isWanted({ name, onDemand = false }: Part): boolean {
  return wanted.length === 0 ? !onDemand : wanted.includes(name);
}

const results = PARTS.filter(isWanted).map((part) => {
  console.log(`\n== ${part.name}`);
  const started = performance.now();
  const [program = "", ...args] = part.command;
  const run = spawnSync(`${BIN}/${program}`, args, { cwd: ROOT, stdio: "inherit" });
  return { name: part.name, passed: run.status === 0, seconds: (performance.now() - started) / 1000 };
});

console.log("");
for (const result of results) {
  console.log(`${result.passed ? "passed" : "FAILED"}  ${result.name}  ${result.seconds.toFixed(1)} s`);
}
const failed = results.filter((result) => !result.passed).length;
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
