// A manager whose disk is full, wiped, or ends in half a write.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { openSync, closeSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { runProgram } from "../cluster/support/program.ts";
import { FaultLab, pause } from "./support/fault-lab.ts";

const DISK_MB = 96;
/** Of each service that fills the log: above what a segment holds after about 120 of them. */
const SPEC_BYTES = 150_000;

let cluster: FaultLab;
before(async () => {
  cluster = await FaultLab.open({ name: "fdisk", managers: 3 });
});

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
      const big = `X=${"x".repeat(SPEC_BYTES)}`;
      for (let count = 0; count < 150; count += 1) {
        const words = ["service", "create", "-d", "--replicas", "0", "--name", `big-${count}`];
        const at = await cluster.follower();
        await writeFile(join(cluster.lab.scratch, "env"), big);
        await cluster.lab.tsswarm(at, [...words, "--env-file", join(cluster.lab.scratch, "env"), "tsswarm/demo:1"]);
      }
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
