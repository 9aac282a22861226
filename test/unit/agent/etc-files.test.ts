// The files that the agent writes for a container.

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createCompose } from "../../../agent/container/compose.ts";
import { type EtcFilesRequest, etcFiles } from "../../../agent/container/etc-files.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { Task } from "../../../proto/gen/objects.ts";
import { ContainerSpec, Mount } from "../../../proto/gen/specs.ts";
import { wholeTask } from "../../../proto/model/objects.ts";

const REQUEST: EtcFilesRequest = {
  hostname: "web-1",
  addresses: ["10.1.0.5/24"],
  hosts: [],
  dnsServers: [],
  dnsSearch: [],
  dnsOptions: [],
  machineResolvConf:
    "# made by hand\nsearch lan example.com\nnameserver 127.0.0.53\nnameserver 10.0.0.2 # office\noptions ndots:2\n",
};

test("hosts names the container by its addresses and has the lines asked for", () => {
  const { hosts, hostname } = etcFiles({ ...REQUEST, hosts: ["10.0.0.7 db  db.lan"] });
  assert.match(hosts, /^127\.0\.0\.1\tlocalhost\n/);
  assert.match(hosts, /\n10\.0\.0\.7\tdb {2}db\.lan\n10\.1\.0\.5\tweb-1\n$/);
  assert.equal(hostname, "web-1\n");
  assert.match(etcFiles({ ...REQUEST, hostname: "a.b.c" }).hosts, /10\.1\.0\.5\ta\.b\.c a\n$/);
});

test("resolv.conf is the machine's without servers of its loopback", () => {
  assert.equal(etcFiles(REQUEST).resolvConf, "nameserver 10.0.0.2\nsearch lan example.com\noptions ndots:2\n");
});

test("a machine with no server that a container can reach is given Docker's", () => {
  for (const machineResolvConf of ["", "nameserver 127.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\n"]) {
    assert.equal(etcFiles({ ...REQUEST, machineResolvConf }).resolvConf, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
  }
});

test("what the service says about names wins over the machine, loopback servers included", () => {
  const asked = { ...REQUEST, dnsServers: ["127.0.0.1", "1.1.1.1"], dnsSearch: ["."], dnsOptions: ["rotate"] };
  assert.equal(etcFiles(asked).resolvConf, "nameserver 127.0.0.1\nnameserver 1.1.1.1\noptions rotate\n");
});

test("at most three servers are named, as many as a C library reads", () => {
  const dnsServers = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
  assert.equal(etcFiles({ ...REQUEST, dnsServers }).resolvConf.match(/nameserver/g)?.length, 3);
});

test("composing writes the files, readable for every user, and tells the task who it is", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "tsswarm-compose-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  chmodSync(dir, 0o700);
  const stub = join(dir, "stub.conf");
  const real = join(dir, "real.conf");
  writeFileSync(stub, "nameserver 127.0.0.53\n");
  writeFileSync(real, "nameserver 10.0.0.2\n");
  const compose = createCompose({ nodeHostname: "n1", resolvConfPaths: [join(dir, "missing"), stub, real] });
  const request = (container: Partial<ContainerSpec>): Parameters<typeof compose>[0] => ({
    task: wholeTask({
      ...Task.create({ id: "t1", serviceName: "web", slot: 2 }),
      spec: {
        container: { ...ContainerSpec.create({ image: "web:1" }), ...container },
        limits: undefined,
        reservations: undefined,
        restart: undefined,
        placement: undefined,
        forceUpdate: 0,
      },
    }),
    image: { id: "sha256:0", config: { config: { Cmd: ["/bin/true"] } }, layers: [] },
    containerId: "cd".repeat(32),
    cgroupParent: "/tsswarm",
    hostname: "h",
    dir,
    addresses: ["10.1.0.9/24"],
  });

  const spec = await compose(request({}));
  assert.equal(readFileSync(join(dir, "resolv.conf"), "utf8"), "nameserver 10.0.0.2\n");
  assert.match(readFileSync(join(dir, "hosts"), "utf8"), /10\.1\.0\.9\th\n$/);
  assert.equal(statSync(join(dir, "hosts")).mode & 0o777, 0o644);
  assert.ok(spec.process.env.includes("TSSWARM_TASK_NAME=web.2.t1"));

  const bind = { ...Mount.create(), source: join(dir, "data"), target: "/data" };
  await assert.rejects(
    compose(request({ mounts: [bind] })),
    (error) => isSwarmError(error, "InvalidArgument") && /bind source path does not exist: .*data/.test(error.message),
  );
  await compose(request({ mounts: [{ ...bind, bindCreateSrc: true }] }));
  assert.ok(statSync(join(dir, "data")).isDirectory());
});
