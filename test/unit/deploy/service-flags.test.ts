// From a command line to a spec: each flag sets what docker's sets, and a bad value is refused by name.

import assert from "node:assert/strict";
import { test } from "node:test";
import { plainSwitches } from "../../../deploy/cli/options.ts";
import { createSpec } from "../../../deploy/cli/service/create.ts";
import { splitWords } from "../../../deploy/cli/service/flags.ts";
import { parseMount } from "../../../deploy/cli/service/parse-mount.ts";
import { parsePublish } from "../../../deploy/cli/service/parse-port.ts";
import { parseSince } from "../../../deploy/cli/service/logs.ts";
import { updatedSpec } from "../../../deploy/cli/service/update.ts";
import {
  Mount_Type,
  Placement_Strategy,
  PortConfig_Protocol,
  PortConfig_PublishMode,
  RestartPolicy_Condition,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
} from "../../../proto/gen/specs.ts";
import { wholeServiceSpec } from "../../../proto/model/objects.ts";
import { replicasOf } from "../../../proto/model/service-mode.ts";

function spec(given: Record<string, unknown>, args: readonly string[] = []): ReturnType<typeof wholeServiceSpec> {
  return wholeServiceSpec(
    createSpec({ image: "web:1", args, given: { name: "web", ...given }, shell: { HOME: "/root" } }),
  );
}

test("a bare create is one replica of the image with the words behind it", () => {
  const made = spec({}, ["httpd", "-p", "80"]);
  assert.equal(made.name, "web");
  assert.deepEqual(made.mode, { $case: "replicated", value: { replicas: 1 } });
  assert.equal(made.task.container.image, "web:1");
  assert.deepEqual(made.task.container.args, ["httpd", "-p", "80"]);
});

test("value flags set their field in the unit of the field", () => {
  const made = spec({
    replicas: "3",
    limitCpu: "0.5",
    limitMemory: "64m",
    stopGracePeriod: "1m30s",
    restartCondition: "on-failure",
    restartMaxAttempts: "4",
    entrypoint: '/bin/sh -c "echo hi"',
    readOnly: true,
  });
  assert.equal(replicasOf(made), 3);
  assert.equal(made.task.limits.nanoCpus, 500_000_000);
  assert.equal(made.task.limits.memoryBytes, 67_108_864);
  assert.equal(made.task.container.stopGraceMs, 90_000);
  assert.equal(made.task.restart.condition, RestartPolicy_Condition.ON_FAILURE);
  assert.equal(made.task.restart.maxAttempts, 4);
  assert.deepEqual(made.task.container.command, ["/bin/sh", "-c", "echo hi"]);
  assert.equal(made.task.container.readOnly, true);
});

test("list flags gather, the later of two with one key wins, and a bare name takes the shell's value", () => {
  const made = spec({
    env: ["A=1", "A=2", "HOME", "UNSET"],
    label: ["x=y"],
    ulimit: ["nofile=10:20"],
    host: ["db:10.0.0.1"],
  });
  assert.deepEqual(made.task.container.env, ["A=2", "HOME=/root"]);
  assert.deepEqual(made.labels, { x: "y" });
  assert.deepEqual(made.task.container.ulimits, [{ name: "nofile", soft: 10, hard: 20 }]);
  assert.deepEqual(made.task.container.hosts, ["10.0.0.1 db"]);
});

test("update adds, replaces and removes", () => {
  const before = spec({
    env: ["A=1", "B=2"],
    publish: ["published=8080,target=80,mode=host"],
    constraint: ["node.labels.zone==a"],
  });
  const after = wholeServiceSpec(
    updatedSpec(
      before,
      {
        envAdd: ["C=3", "B=4"],
        envRm: ["A"],
        publishRm: ["80"],
        constraintRm: ["node.labels.zone == a"],
        image: "web:2",
        force: true,
      },
      {},
    ),
  );
  assert.deepEqual(after.task.container.env, ["B=4", "C=3"]);
  assert.deepEqual(after.endpoint.ports, []);
  assert.deepEqual(after.task.placement.constraints, []);
  assert.equal(after.task.container.image, "web:2");
  assert.equal(after.task.forceUpdate, 1);
});

test("placement flags set their fields, and update adds and takes away", () => {
  const before = spec({
    strategy: "binpack",
    placementPref: ["spread=node.labels.zone", "spread = node.labels.rack"],
    platform: ["linux/amd64", "windows"],
    affinity: ["service == db", "service.labels.tier!=web"],
    genericResource: ["gpu=2", "gpu=3"],
  });
  assert.deepEqual(before.task.placement, {
    ...before.task.placement,
    strategy: Placement_Strategy.BINPACK,
    preferences: [{ spread: "node.labels.zone" }, { spread: "node.labels.rack" }],
    platforms: [
      { os: "linux", architecture: "amd64" },
      { os: "windows", architecture: "" },
    ],
    affinities: ["service==db", "service.labels.tier!=web"],
  });
  assert.deepEqual(before.task.reservations.generic, [{ kind: "gpu", count: 3, names: [] }]);
  const changes = {
    strategy: "spread",
    placementPrefRm: ["spread=node.labels.zone"],
    placementPrefAdd: ["spread=node.hostname"],
    platformRm: ["windows"],
    affinityRm: ["service==db"],
    genericResourceRm: ["gpu"],
    genericResourceAdd: ["fpga=1"],
  };
  const { task } = wholeServiceSpec(updatedSpec(before, changes, {}));
  assert.equal(task.placement.strategy, Placement_Strategy.SPREAD);
  assert.deepEqual(task.placement.preferences, [{ spread: "node.labels.rack" }, { spread: "node.hostname" }]);
  assert.deepEqual(task.placement.platforms, [{ os: "linux", architecture: "amd64" }]);
  assert.deepEqual(task.placement.affinities, ["service.labels.tier!=web"]);
  assert.deepEqual(task.reservations.generic, [{ kind: "fpga", count: 1, names: [] }]);
  for (const [given, message] of [
    [{ strategy: "random" }, /"random": it must be spread or binpack/],
    [{ placementPref: ["node.labels.zone"] }, /"node\.labels\.zone": it must have the form spread=KEY/],
    [{ placementPref: ["spread=zone"] }, /"zone": it must be spread=node\.labels\.NAME/],
    [{ platform: ["linux/arm64/v8"] }, /"linux\/arm64\/v8": it must have the form OS\[\/ARCHITECTURE\]/],
    [{ affinity: ["service=db"] }, /"service=db": it must have the form service==NAME/],
    [{ affinity: ["service==no name"] }, /"no name" is no name of a service/],
    [{ genericResource: ["gpu=UUID1"] }, /"gpu=UUID1": a service asks for a number/],
    [{ genericResource: ["gpu"] }, /"gpu": it must have the form KIND=NUMBER/],
  ] as const)
    assert.throws(() => spec(given), { code: "InvalidArgument", message });
});

test("an update without flags changes nothing", () => {
  const before = spec({ env: ["A=1"], limitCpu: "1" });
  assert.deepEqual(updatedSpec(before, {}, {}), before);
});

test("bad values are refused with the flag or field, the value and what would be valid", () => {
  assert.throws(() => spec({ replicas: "many" }), { message: /"many" for --replicas: it must be a whole number/ });
  assert.throws(() => spec({ restartCondition: "sometimes" }), {
    message: /"sometimes", only none, on-failure and any/,
  });
  assert.throws(() => spec({ limitMemory: "lots" }), { code: "InvalidArgument", message: /lots/ });
  assert.throws(() => spec({ ulimit: ["nofile"] }), { message: /NAME=SOFT\[:HARD\]/ });
  assert.throws(() => spec({ env: ["=x"] }), { message: /invalid environment variable: =x/ });
});

test("mounts are read in docker's form", () => {
  assert.deepEqual(parseMount("type=bind,source=/a,target=/b,readonly"), {
    ...parseMount("type=bind,src=/a,dst=/b"),
    readOnly: true,
  });
  const tmpfs = parseMount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700");
  assert.equal(tmpfs.type, Mount_Type.TMPFS);
  assert.equal(tmpfs.tmpfsSizeBytes, 1_048_576);
  assert.equal(tmpfs.tmpfsMode, 0o700);
  assert.throws(() => parseMount("source=/a,target=/b"), { message: /type is required/ });
  assert.throws(() => parseMount("type=volume,source=a,target=/b"), { message: /bind and tmpfs are supported/ });
  assert.throws(() => parseMount("type=bind,source=/a,target=/b,colour=red"), { message: /unexpected key 'colour'/ });
});

test("ports are read in the short and the long form", () => {
  assert.deepEqual(
    parsePublish("8000-8001:80-81/udp").map((port) => [port.publishedPort, port.targetPort, port.protocol]),
    [
      [8000, 80, PortConfig_Protocol.UDP],
      [8001, 81, PortConfig_Protocol.UDP],
    ],
  );
  const [port] = parsePublish("published=8080,target=80,protocol=tcp,mode=host");
  assert.equal(port?.publishMode, PortConfig_PublishMode.HOST);
  assert.throws(() => parsePublish("8080:99999"), { message: /invalid port 99999/ });
  assert.throws(() => parsePublish("8000-8002:80"), { message: /same length/ });
  assert.throws(() => parsePublish("published=1,mode=host"), { message: /target/ });
});

test("update and rollback flags set their field of the update and of the rollback config", () => {
  const made = spec({
    updateParallelism: "0",
    updateDelay: "10s",
    updateMonitor: "0",
    updateMaxFailureRatio: ".25",
    updateFailureAction: "rollback",
    updateOrder: "start-first",
    updateProgressDeadline: "1m",
    rollbackParallelism: "2",
    rollbackFailureAction: "continue",
  });
  assert.deepEqual(made.update, {
    parallelism: 0,
    delayMs: 10_000,
    monitorMs: 0,
    maxFailureRatio: 0.25,
    failureAction: UpdateConfig_FailureAction.ROLLBACK,
    order: UpdateConfig_Order.START_FIRST,
    progressDeadlineMs: 60_000,
  });
  assert.equal(made.rollback.parallelism, 2);
  assert.equal(made.rollback.failureAction, UpdateConfig_FailureAction.CONTINUE);
  assert.throws(() => spec({ rollbackFailureAction: "rollback" }), {
    message: 'invalid value "rollback" for --rollback-failure-action: it must be one of pause, continue',
  });
  assert.throws(() => spec({ updateOrder: "sideways" }), { message: /it must be one of start-first, stop-first/ });
  for (const ratio of ["1.5", "-1", "x", ""])
    assert.throws(() => spec({ updateMaxFailureRatio: ratio }), { message: /it must be a number from 0 to 1/ });
});

test("switches may be given a value, and never eat the next word", () => {
  const words = ["service", "update", "--detach=true", "--tty=false", "--quiet=false", "web", "--", "--tty=true"];
  assert.deepEqual(plainSwitches(words), ["service", "update", "--detach", "--no-tty", "web", "--", "--tty=true"]);
});

test("a command line splits as a shell would", () => {
  assert.deepEqual(splitWords(`a "b c" 'd "e' f\\ g`), ["a", "b c", 'd "e', "f g"]);
  assert.deepEqual(splitWords("  "), []);
  assert.throws(() => splitWords('a "b'), { message: /a quote is not closed/ });
});

test("since takes durations, time stamps and seconds", () => {
  assert.equal(parseSince("10m", 1_000_000), 400_000);
  assert.equal(parseSince("1700000000", 0), 1_700_000_000_000);
  assert.equal(parseSince("2026-01-02T13:23:37Z", 0), Date.UTC(2026, 0, 2, 13, 23, 37));
  assert.throws(() => parseSince("yesterday", 0), { message: /since/ });
});
