// A manager whose disk is full, wiped, or ends in half a write.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { openSync, closeSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { placesOf } from "../../deploy/lab/lab.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { ContainerSpec, ServiceSpec, TaskSpec } from "../../proto/gen/specs.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { unixChannel } from "../../proto/rpc/channel.ts";
import { bound } from "../cluster/support/bound.ts";
import { runProgram } from "../cluster/support/program.ts";
import { FaultLab, pause } from "./support/fault-lab.ts";

const DISK_MB = 96;
const ENV_BYTES = 60_000;
/** Each puts the spec before and the one after into the log. */
const CHANGES = 250;

const cluster = await FaultLab.open({ name: "fdisk", managers: 3 });

async function must(...words: readonly string[]): Promise<void> {
  const ran = await runProgram(words, {});
  assert.equal(ran.code, 0, `${words.join(" ")}: ${ran.stderr}`);
}

function newestSegment(dir: string): string {
  const name = readdirSync(join(dir, "wal"))
    .filter((each) => each.startsWith("wal-"))
    .sort()
    .at(-1);
  assert.ok(name !== undefined, `no segment in ${dir}`);
  return join(dir, "wal", name);
}

function endOf(path: string): number {
  const bytes = readFileSync(path);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return Math.ceil(end / 8) * 8;
}

/** A service with a large spec that is changed again and again, until more is written than two segments hold. */
async function writeMuch(at: string): Promise<void> {
  const channel = unixChannel(cluster.socket(at));
  const control = createClient(ControlService, channel);
  try {
    const made = await control.createService({ spec: bigSpec(0) }, call());
    let service = made.service;
    for (let changed = 0; changed < CHANGES;) {
      assert.ok(service !== undefined);
      const request = { id: service.id, version: service.meta?.version ?? 0, spec: bigSpec(changed + 1) };
      const [result] = await Promise.allSettled([control.updateService(request, call())]);
      if (result.status === "fulfilled") changed += 1;
      service = await control.getService({ ref: service.id }, call());
    }
    await control.removeService({ ref: made.service?.id ?? "" }, call());
  } finally {
    channel.close();
  }
}

function bigSpec(version: number): ServiceSpec {
  const env = ["A", "B"].map((name) => `${name}=${version}${"x".repeat(ENV_BYTES)}`);
  const container = { ...ContainerSpec.create({ image: "tsswarm/demo:1" }), env };
  const spec = ServiceSpec.create({ name: "big", mode: { $case: "replicated", value: { replicas: 0 } } });
  return { ...spec, task: { ...TaskSpec.create(), container } };
}

function call(): { readonly signal: AbortSignal; readonly timeoutMs: number } {
  return { signal: bound(), timeoutMs: 20_000 };
}

test("half a record at the end of the log is cut, and the manager goes on", async () => {
  await cluster.under(async () => {
    const name = await cluster.follower();
    await cluster.lab.kill(name);
    const segment = newestSegment(join(cluster.stateDir(name), "manager"));
    const end = endOf(segment);
    const torn = Math.min(200, statSync(segment).size - end);
    const file = openSync(segment, "r+");
    writeSync(file, randomBytes(torn), 0, torn, end);
    closeSync(file);
    await cluster.spawn(name);
  });
});

test("a manager whose log was wiped comes back as a new member with the whole state", async () => {
  await cluster.under(async () => {
    const name = await cluster.follower();
    await cluster.lab.powerOff(name);
    rmSync(join(cluster.stateDir(name), "manager"), { recursive: true });
    await cluster.spawn(name);
  });
});

test("a manager whose disk is full holds up nobody, and goes on when there is room", async () => {
  const name = await cluster.leader();
  const dir = join(cluster.stateDir(name), "manager");
  await cluster.lab.powerOff(name);
  await rename(dir, `${dir}.kept`);
  await mkdir(dir);
  await must("mount", "-t", "tmpfs", "-o", `size=${DISK_MB}m`, "tmpfs", dir);
  try {
    await cp(`${dir}.kept`, dir, { recursive: true });
    await cluster.spawn(name);
    await cluster.untilWhole();
    const filler = join(dir, "filler");
    await cluster.under(async () => {
      const file = await writeFile(filler, Buffer.alloc(DISK_MB * 1_048_576)).catch((error: unknown) => error);
      assert.ok(file instanceof Error, "the small disk took more than it has");
      await writeMuch(await cluster.follower());
      assert.match(readFileSync(placesOf(cluster.lab.lab.name, name).log, "utf8"), /no room/);
      await pause(3_000);
      rmSync(filler);
    });
  } finally {
    await cluster.lab.powerOff(name);
    await rm(`${dir}.small`, { recursive: true, force: true });
    await cp(dir, `${dir}.small`, { recursive: true });
    await must("umount", dir);
    await rm(dir, { recursive: true });
    await rename(`${dir}.small`, dir);
    await rm(`${dir}.kept`, { recursive: true });
    await cluster.spawn(name);
    await cluster.untilWhole();
  }
});
