// Validation of specs: what is refused, and that the sentence names the field and what would be valid.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { validateClusterSpec, validateNodeSpec } from "../../../manager/control/validate-node.ts";
import { SPEC_BYTES_MAX, validateServiceSpec } from "../../../manager/control/validate-service.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import {
  ClusterSpec,
  ContainerSpec,
  EndpointSpec,
  Mount,
  Mount_Type,
  NodeSpec,
  Placement,
  PortConfig,
  PortConfig_PublishMode,
  Resources,
  RestartPolicy,
  ServiceSpec,
  TaskSpec,
  Ulimit,
} from "../../../proto/gen/specs.ts";
import { wholeServiceSpec } from "../../../proto/model/objects.ts";

type Input<T extends { create: (...args: never[]) => unknown }> = Parameters<T["create"]>[0];

interface Change {
  readonly spec?: object;
  readonly container?: object;
  readonly task?: object;
}

function check({ spec = {}, container = {}, task = {} }: Change): void {
  validateServiceSpec(
    wholeServiceSpec({
      ...ServiceSpec.create(),
      name: "web",
      ...spec,
      task: {
        ...TaskSpec.create(),
        ...task,
        container: { ...ContainerSpec.create(), image: "web:1", ...container },
      },
    }),
  );
}

function port(change: object): object {
  const ports = [
    { ...PortConfig.create(), targetPort: 80, publishMode: PortConfig_PublishMode.HOST, ...change },
  ] as readonly PortConfig[];
  return { spec: { endpoint: { ...EndpointSpec.create(), ports } } };
}

function mount(change: object): Change {
  return { container: { mounts: [{ ...Mount.create(), source: "/src", target: "/data", ...change }] } };
}

function limit(change: object): Change {
  return { container: { ulimits: [{ ...Ulimit.create(), name: "nofile", soft: 1, hard: 2, ...change }] } };
}

test("a plain service is valid", () => {
  check({});
  check({
    spec: { labels: { team: "a" }, mode: { $case: "replicated", value: { replicas: 3 } } },
    container: {
      image: "registry.example:5000/team/web@sha256:" + "a".repeat(64),
      command: ["/bin/web"],
      env: ["A=1", "EMPTY=", "FROM_NODE"],
      user: "1000:www-data",
      hostname: "web.example",
      hosts: ["10.0.0.7 db db.example", "::1 me"],
      dnsServers: ["10.0.0.1", "fd00::1"],
      dnsSearch: ["."],
      dnsOptions: ["ndots:2"],
      stopSignal: "SIGQUIT",
      stopGraceMs: 0,
      capabilityAdd: ["CAP_NET_ADMIN", "sys_time"],
      capabilityDrop: ["ALL"],
      sysctls: { "net.core.somaxconn": "1024", "net.ipv4.conf.eth0/1.forwarding": "1" },
      dir: "/srv",
    },
    task: {
      limits: { ...Resources.create(), memoryBytes: 4_194_304, nanoCpus: 500_000_000, pids: 100 },
      restart: { ...RestartPolicy.create(), maxAttempts: 3, delayMs: 0 },
      placement: { ...Placement.create(), constraints: ["node.role==worker", "node.labels.zone != a"] },
    },
  });
  check(port({ publishedPort: 8080 }));
  check(mount({}));
  check(mount({ type: Mount_Type.TMPFS, source: "", tmpfsSizeBytes: 1_048_576, tmpfsMode: 0o700 }));
  check(limit({ soft: -1, hard: -1 }));
});

const REFUSED: readonly (readonly [Change, string | RegExp])[] = [
  [{ spec: { name: "" } }, /name must be provided/],
  [{ spec: { name: "-web" } }, /name "-web" is not valid/],
  [{ spec: { name: "w eb" } }, /name "w eb" is not valid/],
  [{ spec: { name: "x".repeat(64) } }, /63 characters or fewer/],
  [{ spec: { mode: { $case: "replicated", value: { replicas: 100_001 } } } }, /replicas 100001 is not valid/],
  [{ spec: { labels: { "": "x" } } }, /a key may not be empty/],
  [{ container: { image: "" } }, /image reference must be provided/],
  [{ container: { image: "Web:1" } }, /must be lowercase/],
  [{ container: { env: ["=x"] } }, /task\.container\.env\[0\] "=x" is not valid: it must be KEY=VALUE/],
  [{ container: { env: ["A=\0"] } }, /NUL/],
  [{ container: { dir: "srv" } }, /absolute path/],
  [{ container: { user: "a:b:c" } }, /name\|uid/],
  [{ container: { hostname: "-x" } }, /host name/],
  [{ container: { hosts: ["db 10.0.0.7"] } }, /IP NAME/],
  [{ container: { dnsServers: ["dns.example"] } }, /IP address/],
  [{ container: { stopSignal: "SIGNOPE" } }, /SIGTERM/],
  [{ container: { stopGraceMs: -1 } }, /stop_grace_ms -1 is not valid/],
  [{ container: { capabilityAdd: ["NET_NOPE"] } }, /capability_add\[0\] "NET_NOPE"/],
  [{ container: { sysctls: { "kernel.panic": "1" } } }, /cannot be set in a container/],
  [{ container: { sysctls: { "net.../etc": "1" } } }, /cannot be set in a container/],
  [{ container: { args: Array.from({ length: 1_025 }, () => "x") } }, /1025 items; 1024 are allowed/],
  [{ container: { command: [""] } }, /program's name/],
  [limit({ name: "files" }), /one of core/],
  [limit({ soft: 3 }), /soft limit \(3\) is above the hard limit \(2\)/],
  [mount({ target: "data" }), /absolute path/],
  [mount({ target: "/a/../b" }), /"\.\."/],
  [mount({ target: "//" }), /container's root/],
  [mount({ source: "" }), /absolute path/],
  [mount({ bindPropagation: "both" }), /rprivate/],
  [mount({ type: 7 }), /one of bind, tmpfs/],
  [mount({ type: Mount_Type.TMPFS }), /a tmpfs has no source/],
  [
    {
      container: {
        mounts: ["/data", "/data/"].map((target) => ({ ...Mount.create(), source: "/src", target })),
      },
    },
    "Duplicate mount point: /data",
  ],
  [{ task: { limits: { ...Resources.create(), memoryBytes: 4_194_303 } } }, /at least 4MiB/],
  [{ task: { limits: { ...Resources.create(), nanoCpus: 1 } } }, /at least 0\.001/],
  [{ task: { reservations: { ...Resources.create(), pids: 1 } } }, /cannot be reserved/],
  [{ task: { restart: { ...RestartPolicy.create(), condition: 9 } } }, /one of any, on-failure, none/],
  [{ task: { placement: { ...Placement.create(), constraints: ["node.size==big"] } } }, /node\.size/],
  [
    { task: { placement: { ...Placement.create(), constraints: ["node.ip==10.0.0.0/40"] } } },
    /task\.placement\.constraints\[0\].*10\.0\.0\.0\/40.*subnet such as 10\.0\.0\.0\/8/,
  ],
  [
    { task: { placement: { ...Placement.create(), preferences: [{ spread: "zone" }] } } },
    /task\.placement\.preferences\[0\]\.spread.*"zone".*spread=node\.labels\.NAME/,
  ],
  [
    { task: { placement: { ...Placement.create(), preferences: Array(2).fill({ spread: "node.labels.a" }) } } },
    /task\.placement\.preferences has spread=node\.labels\.a twice/,
  ],
  [
    { task: { placement: { ...Placement.create(), platforms: [{ os: "", architecture: "" }] } } },
    /task\.placement\.platforms\[0\].*linux\/amd64/,
  ],
  [
    { task: { placement: { ...Placement.create(), platforms: [{ os: "Linux!", architecture: "" }] } } },
    /task\.placement\.platforms\[0\]\.os "Linux!" is not valid/,
  ],
  [{ task: { placement: { ...Placement.create(), strategy: 9 } } }, /task\.placement\.strategy 9.*spread, binpack/],
  [
    { task: { placement: { ...Placement.create(), affinities: ["service=db"] } } },
    /task\.placement\.affinities\[0\].*"service=db".*service==NAME/,
  ],
  [
    { task: { reservations: { ...Resources.create(), generic: [{ kind: "gpu", count: 0, names: [] }] } } },
    /task\.reservations\.generic\[0\]\.count 0 is not valid: it must be a whole number from 1/,
  ],
  [
    { task: { reservations: { ...Resources.create(), generic: [{ kind: "gpu", count: 1, names: ["A"] }] } } },
    /task\.reservations\.generic\[0\]\.names.*declared by nodes alone/,
  ],
  [
    { task: { reservations: { ...Resources.create(), generic: [{ kind: "a b", count: 1, names: [] }] } } },
    /task\.reservations\.generic\[0\]\.kind "a b" is not valid/,
  ],
  [
    { task: { limits: { ...Resources.create(), generic: [{ kind: "gpu", count: 1, names: [] }] } } },
    /generic resources have no limit/,
  ],
  [port({ targetPort: 0 }), /target_port 0 is not valid/],
  [port({ publishedPort: 70_000 }), /published_port 70000 is not valid/],
  [port({ publishMode: PortConfig_PublishMode.INGRESS, publishedPort: 8080 }), /published=8080,target=80,mode=host/],
];

for (const [change, expected] of REFUSED) {
  test(`a service is refused with ${String(expected)}`, () => {
    assert.throws(
      () => check(change),
      (error: unknown) => {
        assert.ok(error instanceof SwarmError);
        assert.equal(error.code, "InvalidArgument");
        if (typeof expected === "string") assert.equal(error.message, expected);
        else assert.match(error.message, expected);
        return true;
      },
    );
  });
}

test("a port is published once per protocol", () => {
  const ports = [80, 81].map((targetPort) => ({
    ...PortConfig.create(),
    targetPort,
    publishedPort: 8080,
    publishMode: PortConfig_PublishMode.HOST,
  }));
  assert.throws(() => check({ spec: { endpoint: { ports } } }), /duplicate published port provided: 8080\/tcp/);
  check({ spec: { endpoint: { ports: [ports[0], { ...ports[1], protocol: 1 }] } } });
});

test("a spec that is too large in all is refused", () => {
  const env = Array.from({ length: 3 }, (_, index) => `A${index}=${"x".repeat(SPEC_BYTES_MAX / 3)}`);
  assert.throws(() => check({ container: { env } }), /the service's spec takes \d+ bytes/);
});

test("whatever a name holds, it is accepted or refused with a sentence", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 80 }), (name) => {
      try {
        check({ spec: { name } });
      } catch (error) {
        assert.ok(error instanceof SwarmError && error.code === "InvalidArgument");
        return;
      }
      assert.match(name, /^[a-zA-Z0-9]/);
      assert.ok(name.length <= 63);
    }),
  );
});

test("a node's and the cluster's settings have ranges", () => {
  validateNodeSpec({ ...NodeSpec.create(), labels: { zone: "a" } });
  assert.throws(() => validateNodeSpec({ ...NodeSpec.create(), name: "a b" }), /name "a b" is not valid/);
  assert.throws(
    () => validateNodeSpec({ ...NodeSpec.create(), availability: 5 as never }),
    /one of active, pause, drain/,
  );
  const cluster: Input<typeof ClusterSpec> = {};
  validateClusterSpec({ ...ClusterSpec.create(cluster), heartbeatPeriodMs: 1_000 });
  assert.throws(() => validateClusterSpec({ ...ClusterSpec.create(), heartbeatPeriodMs: 1 }), /heartbeat_period_ms 1/);
  assert.throws(() => validateClusterSpec({ ...ClusterSpec.create(), nodeCertExpiryMs: 60_000 }), /3600000/);
});
