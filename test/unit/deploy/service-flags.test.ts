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
  PortConfig_Protocol,
  PortConfig_PublishMode,
  RestartPolicy_Condition,
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
