// Rules of the tree that no compiler checks: who may import whom, what is pure, how long a file may be, what is dead.
// Each failure says the rule's reason. The layer table is docs/ARCHITECTURE.md section 4, row by row.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type SourceFile, codeOnly, projectFiles, readSources } from "./support/source-tree.ts";

interface Layer {
  readonly name: string;
  /** Which files belong to it; the first layer that matches owns a file. */
  readonly files: RegExp;
  /** Which of our files it may import, besides its own. */
  readonly may: RegExp;
  /** Which packages and node: modules it may import. */
  readonly packages: RegExp;
  /** Code that must not occur, with the reason. */
  readonly forbidden?: readonly { readonly code: RegExp; readonly because: string }[];
}

const ANY = /./;
const NONE = /^$/;
const CLOCK = {
  code: /\bDate\.now\(|\bnew Date\(\)|\bset(?:Timeout|Interval|Immediate)\(/,
  because: "time is handed in (proto/base/clock.ts), so that the simulator can move it",
};
const RANDOM = {
  code: /\bMath\.random\(|\brandomBytes\(|\brandomUUID\(/,
  because: "randomness is handed in (proto/base/random.ts), so that a seed replays a run",
};
const WAITING = {
  code: /\basync(?:\s*[(*]|\s+[#\w$]+)|\bawait\b|\bPromise\b/,
  because: "this layer decides and never waits",
};
const PURE = [CLOCK, RANDOM, WAITING];

const LAYERS: readonly Layer[] = [
  { name: "proto/gen", files: /^proto\/gen\//, may: /^proto\/gen\//, packages: ANY },
  { name: "proto/base", files: /^proto\/base\//, may: NONE, packages: /^node:/ },
  {
    name: "proto/model",
    files: /^proto\/model\//,
    may: /^proto\/(gen|base)\//,
    packages: NONE,
    forbidden: [CLOCK, RANDOM],
  },
  {
    name: "proto/rpc",
    files: /^proto\/rpc\//,
    may: /^proto\//,
    packages: /^(@grpc\/grpc-js|node:)/,
    forbidden: [CLOCK, RANDOM],
  },
  { name: "native", files: /^native\//, may: /^proto\/base\//, packages: /^(koffi|node:)/, forbidden: [RANDOM] },
  { name: "manager/raft (raft-ts)", files: /^manager\/raft\//, may: NONE, packages: NONE, forbidden: PURE },
  {
    name: "manager/replication",
    files: /^manager\/replication\//,
    may: /^(proto\/|manager\/store\/proposer\.ts$)/,
    packages: /^(raft-ts$|node:)/,
    forbidden: [CLOCK, RANDOM],
  },
  { name: "manager/store", files: /^manager\/store\//, may: /^proto\//, packages: NONE, forbidden: [CLOCK, RANDOM] },
  {
    name: "manager/pass.ts",
    files: /^manager\/pass\.ts$/,
    may: /^(manager\/store\/|proto\/)/,
    packages: NONE,
    forbidden: PURE,
  },
  {
    name: "manager/placement",
    files: /^manager\/placement\//,
    may: /^(manager\/store\/|proto\/(model|base|gen)\/)/,
    packages: NONE,
    forbidden: PURE,
  },
  ...["orchestrator", "allocator", "scheduler"].map((name) => ({
    name: `manager/${name}`,
    files: new RegExp(`^manager/${name}/`),
    may: /^(manager\/(store|placement)\/|manager\/pass\.ts$|proto\/(model|base|gen)\/)/,
    packages: NONE,
    forbidden: PURE,
  })),
  {
    name: "manager/control",
    files: /^manager\/control\//,
    may: /^(manager\/(store|placement)\/|proto\/)/,
    packages: /^node:net$/,
    forbidden: [CLOCK, RANDOM],
  },
  ...["dispatcher", "logs"].map((name) => ({
    name: `manager/${name}`,
    files: new RegExp(`^manager/${name}/`),
    may: /^(manager\/store\/|proto\/)/,
    packages: /^node:net$/,
    forbidden: [CLOCK, RANDOM],
  })),
  {
    name: "manager/ca",
    files: /^manager\/ca\//,
    may: /^(manager\/store\/|proto\/)/,
    packages: /^(@peculiar\/x509|reflect-metadata|node:)/,
    forbidden: [CLOCK, RANDOM],
  },
  { name: "manager", files: /^manager\//, may: /^(manager|proto)\//, packages: /^node:/, forbidden: [CLOCK, RANDOM] },
  { name: "agent/exec", files: /^agent\/exec\//, may: /^proto\//, packages: NONE, forbidden: [CLOCK, RANDOM] },
  {
    name: "agent/{image,network,volume}",
    files: /^agent\/image\//,
    may: /^(proto\/|native\/index\.ts$)/,
    packages: /^node:/,
    forbidden: [CLOCK, RANDOM],
  },
  {
    name: "agent/network",
    files: /^agent\/network\//,
    may: /^(proto\/|native\/index\.ts$)/,
    packages: /^node:/,
    forbidden: [CLOCK, RANDOM],
  },
  {
    name: "agent/container",
    files: /^agent\/container\//,
    may: /^(agent\/(exec|image|network|volume)\/|native\/index\.ts$|proto\/)/,
    packages: /^node:/,
    forbidden: [CLOCK, RANDOM],
  },
  { name: "agent/index.ts", files: /^agent\/index\.ts$/, may: /^agent\//, packages: NONE },
  {
    name: "agent",
    files: /^agent\//,
    may: /^(agent\/exec\/|proto\/)/,
    packages: /^node:/,
    forbidden: [CLOCK, RANDOM],
  },
  {
    name: "deploy/docker",
    files: /^deploy\/docker\//,
    may: /^proto\/(gen|model|base)\//,
    packages: NONE,
    forbidden: PURE,
  },
  {
    name: "deploy/cli",
    files: /^deploy\/cli\//,
    may: /^(proto\/|deploy\/(lab|doctor|version|docker)\b)/,
    packages: /^(commander|node:)/,
  },
  {
    name: "deploy/lab and deploy/doctor",
    files: /^deploy\/(lab|doctor|demo-image)\//,
    may: /^(proto\/|native\/index\.ts$|deploy\/(demo-image|cli|version))/,
    packages: /^(node:|commander)/,
  },
  {
    name: "deploy/node",
    files: /^deploy\/node\//,
    may: /^(proto\/|(manager|agent|native)\/index\.ts$|deploy\/version)/,
    packages: /^(node:|commander)/,
  },
  { name: "deploy", files: /^deploy\//, may: /^(proto|deploy|native)\//, packages: ANY },
  { name: "test", files: /^test\//, may: ANY, packages: ANY },
];

/** Where running begins, and the door of raft-ts, which is a package of its own; everything else must be reached from here. A test
 * keeps no code of another room alive. */
const PROGRAMS =
  /^(deploy\/(cli\/start|node\/main|demo\/main)\.ts|native\/[a-z-]+-worker\.ts|manager\/raft\/index\.ts)$/;
const TESTS = /^test\/(.*\.test\.ts|run\.ts|bench\/.*\.ts|mutants\/(run|simulated)\.ts|sim\/main\.ts)$/;

const sources = readSources(/\.ts$/).filter((file) => !file.path.startsWith("proto/gen/"));

function layerOf(path: string): Layer | undefined {
  return LAYERS.find((layer) => layer.files.test(path));
}

function problems(check: (file: SourceFile) => readonly string[]): readonly string[] {
  return sources.flatMap((file) => check(file).map((problem) => `${file.path}: ${problem}`));
}

function isOurs(specifier: string): boolean {
  return /^(proto|native|manager|agent|deploy|test)\//.test(specifier);
}

test("every source file has a layer", () => {
  assert.deepEqual(
    problems((file) => (layerOf(file.path) === undefined ? ["belongs to no layer of the table"] : [])),
    [],
  );
});

test("files import only what their layer may know", () => {
  const found = problems((file) => {
    const layer = layerOf(file.path);
    if (layer === undefined) return [];
    return file.imports.flatMap((specifier) => {
      if (isOurs(specifier)) {
        const own = layer.files.test(specifier) && layerOf(specifier) === layer;
        return own || layer.may.test(specifier)
          ? []
          : [`${layer.name} may not import ${specifier}: the layers keep each part testable alone`];
      }
      return layer.packages.test(specifier)
        ? []
        : [`${layer.name} may not import ${specifier}: packages stay where they do their job`];
    });
  });
  assert.deepEqual(found, []);
});

test("pure layers hold no clock, no randomness and no waiting", () => {
  const found = problems((file) => {
    const code = codeOnly(file.text);
    return (layerOf(file.path)?.forbidden ?? []).flatMap((rule) => {
      const match = rule.code.exec(code);
      return match === null ? [] : [`has ${match[0]}: ${rule.because}`];
    });
  });
  assert.deepEqual(found, []);
});

test("no file is longer than 500 lines", () => {
  const long = [...sources, ...readSources(/\.[ch]$/)].filter((file) => file.lines > 500);
  assert.deepEqual(
    long.map((file) => `${file.path}: ${file.lines} lines; split it by concept`),
    [],
  );
});

test("every file opens by saying what it owns", () => {
  assert.deepEqual(
    problems((file) => (/^(#!.*\n)?\/\/ /.test(file.text) ? [] : ["opens without a comment that says what it owns"])),
    [],
  );
});

test("no file is dead", () => {
  const byPath = new Map(sources.map((file) => [file.path, file]));
  const reachedFrom = (entries: RegExp): ReadonlySet<string> => {
    const reached = new Set<string>();
    const visit = (path: string): void => {
      const file = byPath.get(path);
      if (file === undefined || reached.has(path)) return;
      reached.add(path);
      for (const specifier of file.imports) visit(specifier);
    };
    for (const file of sources) if (entries.test(file.path)) visit(file.path);
    return reached;
  };
  const shipped = reachedFrom(PROGRAMS);
  const tested = reachedFrom(TESTS);
  const dead = sources.filter(({ path }) => !(path.startsWith("test/") ? tested : shipped).has(path));
  assert.deepEqual(
    dead.map(({ path }) => `${path}: no program leads to it; delete it`),
    [],
  );
});

test("no code holds what the project bans", () => {
  const checked = sources.filter((file) => file.path !== "test/tidy.test.ts");
  const bans: readonly (readonly [RegExp, string])[] = [
    [/\bcatch\s*(\([^)]*\))?\s*\{\s*\}/, "an empty catch hides what went wrong"],
    [/\bexport default\b/, "named exports only: one name for a thing everywhere"],
    [
      /@ts-ignore|@ts-nocheck|eslint-disable(?!-next-line [a-z@/-]+ -- )/,
      "checks are not switched off without a reason beside them",
    ],
  ];
  const found = checked.flatMap((file) => {
    const text = codeOnly(file.text) + commentsOf(file.text);
    return bans.filter(([pattern]) => pattern.test(text)).map(([, because]) => `${file.path}: ${because}`);
  });
  assert.deepEqual(found, []);
});

function commentsOf(text: string): string {
  return [...text.matchAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g)].map((match) => match[0]).join("\n");
}

test("nothing in the tree names a place that only one machine has", () => {
  const words = [
    ["/work", "main"].join("/"),
    ["/work", "shared"].join("/"),
    [".", "library"].join(""),
    ["TO", "DO"].join(""),
    ["FIX", "ME"].join(""),
  ];
  const named = readSources(/\.(ts|mjs|c|h|md|json|proto|sh)$|Makefile$|^deploy\/bin\//)
    .filter((file) => file.path !== "package-lock.json")
    .flatMap((file) => words.filter((word) => file.text.includes(word)).map((word) => `${file.path}: holds "${word}"`));
  assert.deepEqual(named, []);
});

test("the top level holds the rooms and no more than tools and readers need", () => {
  const known =
    /^(package\.json|package-lock\.json|tsconfig\.json|README\.md|LICENSE|eslint\.config\.mjs|\.[a-z-]+(\.json)?|\.ci|docs|proto|native|manager|agent|deploy|test)$/;
  const top = new Set(projectFiles().map((path) => path.split("/")[0] ?? ""));
  assert.deepEqual(
    [...top].filter((name) => !known.test(name)),
    [],
  );
});
