// The checks of `tsswarm doctor` on this machine, which runs containers, and that they leave nothing.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openCgroups } from "../../native/cgroup.ts";
import { checkKernel } from "../../native/kernel-checks.ts";
import { inFreshNetwork, probeLink } from "../../native/kernel-probe-net.ts";

test("every feature is found here and nothing stays of looking", { timeout: 30_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "tsswarm-checks-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const seen = (): unknown => ({
    mounts: readFileSync("/proc/self/mountinfo", "utf8"),
    network: readlinkSync("/proc/thread-self/ns/net"),
    links: readdirSync("/sys/class/net"),
    descriptors: readdirSync("/proc/self/fd").length,
    files: readdirSync(dir),
  });
  await checkKernel(AbortSignal.timeout(20_000), { dir });
  const before = seen();
  const checks = await checkKernel(AbortSignal.timeout(20_000), { dir });
  assert.deepEqual(
    checks.map(({ name, ok, detail }) => (ok ? name : `${name}: ${detail}`)),
    ["namespaces", "cgroups", "overlayfs", "bridge", "veth", "vxlan", "nf_tables", "seccomp"],
  );
  assert.deepEqual(seen(), before);
  assert.equal(openCgroups().find(`/tsswarm-check-${process.pid}`), undefined);
});

test("a kind of device that no kernel has is told by its errno", { timeout: 30_000 }, () => {
  assert.equal(
    inFreshNetwork(() => probeLink("nonesuch")),
    95,
  );
});

test("a folder that carries no overlays is named with the fix", { timeout: 30_000 }, async () => {
  const checks = await checkKernel(AbortSignal.timeout(20_000), { dir: "/proc" });
  const overlay = checks.find(({ name }) => name === "overlayfs");
  assert.equal(overlay?.ok, false);
  assert.match(overlay.detail, /nothing can be written to \/proc .*; choose a folder/);
});

test("who is not root is told so and nothing is tried", { timeout: 30_000 }, () => {
  const script = `
    import { checkKernel } from ${JSON.stringify(new URL("../../native/kernel-checks.ts", import.meta.url).href)};
    process.setuid(65534);
    console.log(JSON.stringify(await checkKernel(AbortSignal.timeout(5000))));`;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8", timeout: 20_000 });
  assert.match(run.stdout, /^\[\{"name":"root","ok":false,"detail":"[^"]*sudo"\}\]\n$/, run.stderr);
});
