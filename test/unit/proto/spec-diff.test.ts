// The difference between two specs, as people read it.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  ContainerSpec,
  PortConfig,
  PortConfig_PublishMode,
  Resources,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
  UpdateConfig_Order,
} from "../../../proto/gen/specs.ts";
import { specDifferences } from "../../../proto/model/spec-diff.ts";

function spec(change: Partial<ServiceSpec> = {}, container: Partial<ContainerSpec> = {}): ServiceSpec {
  const task = { ...TaskSpec.create(), container: { ...ContainerSpec.create(), image: "web:1", ...container } };
  const mode = { $case: "replicated", value: { replicas: 3 } } as const;
  return { ...ServiceSpec.create(), name: "web", mode, task, ...change };
}

test("a changed value, one that came and one that went have a line each, with the path that refusals name", () => {
  const before = spec({ labels: { tier: "front" } }, { env: ["A=1", "B=2"], stopGraceMs: 10_000 });
  const after = spec({ labels: {} }, { image: "web:2", env: ["A=3", "B=2", "C=x y"], dir: "/srv" });
  assert.deepEqual(specDifferences(before, after), [
    "- labels[tier]: front",
    "~ task.container.image: web:1 -> web:2",
    "~ task.container.env[A]: 1 -> 3",
    "+ task.container.env[C]: x y",
    "+ task.container.dir: /srv",
    "- task.container.stop_grace_ms: 10s",
  ]);
});

test("values are printed as the flags take them", () => {
  const limits = { ...Resources.create(), nanoCpus: 500_000_000, memoryBytes: 64 * 1_048_576 };
  const before = spec();
  const update = { ...UpdateConfig.create(), order: UpdateConfig_Order.START_FIRST, delayMs: 90_000, parallelism: 0 };
  const after = { ...before, update, task: { ...TaskSpec.create(), ...before.task, limits } };
  assert.deepEqual(specDifferences(before, after), [
    "~ task.limits.nano_cpus: 0 -> 0.5",
    "~ task.limits.memory_bytes: 0B -> 64MiB",
    "+ update.parallelism: 0",
    "~ update.delay_ms: 0s -> 1m30s",
    "+ update.order: start-first",
  ]);
});

test("lists are compared by their items, a command as a whole", () => {
  const port = (publishedPort: number): PortConfig =>
    PortConfig.create({ targetPort: 80, publishedPort, publishMode: PortConfig_PublishMode.HOST });
  const before = spec({ endpoint: { ports: [port(80), port(81)] } }, { args: ["serve"] });
  const after = spec({ endpoint: { ports: [port(81), port(82)] } }, { args: ["serve", "a b"] });
  assert.deepEqual(specDifferences(before, after), [
    '~ task.container.args: serve -> serve "a b"',
    "- endpoint.ports: target_port=80,published_port=80,publish_mode=host",
    "+ endpoint.ports: target_port=80,published_port=82,publish_mode=host",
  ]);
});

test("another mode is told with its fields", () => {
  const after = spec({ mode: { $case: "global", value: {} } });
  assert.deepEqual(specDifferences(spec(), after), [
    "~ mode: replicated -> global",
    "- replicated.replicas: 3",
    "+ global: {}",
  ]);
});

test("without a spec before, all that is said is new", () => {
  assert.deepEqual(specDifferences(undefined, spec({}, { env: ["A=1"] })), [
    "+ name: web",
    "+ task.container.image: web:1",
    "+ task.container.env[A]: 1",
    "+ mode: replicated",
    "+ replicated.replicas: 3",
  ]);
});

test("two specs have no difference exactly when they are the same", () => {
  const container = fc.record({
    image: fc.constantFrom("web:1", "web:2"),
    env: fc.array(fc.constantFrom("A=1", "A=2", "B=1", "B"), { maxLength: 3 }),
    args: fc.array(fc.constantFrom("a", "b"), { maxLength: 2 }),
    labels: fc.dictionary(fc.constantFrom("x", "y"), fc.constantFrom("1", ""), { maxKeys: 2 }),
    stopGraceMs: fc.constantFrom(undefined, 0, 1_000),
    readOnly: fc.boolean(),
  });
  const bytes = (of: ServiceSpec): string => JSON.stringify(of, (_, value: unknown) => sorted(value));
  fc.assert(
    fc.property(container, container, (a, b) => {
      const [before, after] = [spec({}, a), spec({}, b)];
      assert.equal(specDifferences(before, after).length === 0, bytes(before) === bytes(after));
      assert.equal(specDifferences(before, after).length, specDifferences(after, before).length);
    }),
    { numRuns: 500 },
  );
});

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
