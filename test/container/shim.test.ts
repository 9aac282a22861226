// The life of a container under its shim: made, started, ended, and the reasons when it cannot be.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { openCgroups } from "../../native/cgroup.ts";
import { Harness, bound, logOf, textOf } from "./support/harness.ts";
import { makeTinyLayer } from "./support/tiny-root.ts";

const harness = new Harness();
after(() => harness.close());

test("a container's exit code, its output and its streams are those of its program", async () => {
  const { exit, stdout, stderr } = await harness.run({ args: ["sh", "-c", "echo out; echo err >&2; exit 3"] });
  assert.deepEqual([exit.code, exit.signal, exit.oomKilled], [3, 0, false]);
  assert.ok(exit.startedAtMs > 0 && exit.exitedAtMs >= exit.startedAtMs);
  assert.equal(stdout, "out\n");
  assert.equal(stderr, "err\n");
});

test("lines of both streams come in the order in which they were written, the last one though it has no newline", async () => {
  const made = await harness.start({
    args: ["sh", "-c", "for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done; printf end"],
  });
  await made.container.wait(bound());
  const lines = (await logOf(made)).map((line) => (line.kind === "line" ? line : assert.fail("a line was lost")));
  assert.deepEqual(
    lines.map((line) => line.data.toString()),
    ["o1", "e1", "o2", "e2", "o3", "e3", "end"],
  );
  assert.deepEqual(
    lines.map((line) => line.stderr),
    [false, true, false, true, false, true, false],
  );
  assert.deepEqual(lines.map((line) => line.partial).lastIndexOf(true), 6);
  for (const [index, line] of lines.entries()) assert.ok(line.atUs >= (lines[index - 1]?.atUs ?? 0));
  await harness.remove(made);
});

test("a signal that ends the program is told, and one it handles is not", async () => {
  const killed = await harness.start({ args: ["sleep", "1000"] });
  await killed.container.kill(9, bound());
  const exit = await killed.container.wait(bound());
  assert.deepEqual([exit.code, exit.signal], [137, 9]);
  const handling = await harness.start({
    args: ["sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done"],
  });
  await waitForLog(handling, "up\n");
  await handling.container.kill(15, bound());
  assert.equal((await handling.container.wait(bound())).code, 5);
  await handling.container.kill(15, bound());
});

test("nothing runs before the start, and a container that was never started can be removed", async () => {
  const made = await harness.make({ args: ["echo", "ran"] });
  const root = join(made.dir, "upper");
  assert.equal(textOf(await logOf(made), false), "");
  assert.ok(existsSync(root));
  assert.ok(existsSync(`/proc/${made.container.pid}/ns/net`));
  await assert.rejects(made.container.exec({ ...PLAIN, args: ["true"] }, bound()), /the container is not running/);
  await harness.remove(made);
  assert.equal(existsSync(`/proc/${made.container.pid}/ns/net`), false);
  await made.container.remove(bound());
});

const PLAIN = { env: [], cwd: "", user: "", tty: false, stdin: false, size: undefined };

test("a program that cannot be run is refused with Docker's sentence and leaves an exit record", async () => {
  const cases = [
    { args: ["nope"], code: "127", says: 'exec: "nope": executable file not found in $PATH' },
    { args: ["/nope"], code: "127", says: 'exec: "/nope": stat /nope: no such file or directory' },
    { args: ["/etc/passwd"], code: "126", says: 'exec: "/etc/passwd": permission denied' },
    { args: ["/etc"], code: "126", says: 'exec: "/etc": is a directory' },
  ];
  for (const { args, code, says } of cases) {
    const made = await harness.make({ args });
    await assert.rejects(made.container.start(bound()), { message: says, details: { exitCode: code } });
    const exit = await made.container.wait(bound());
    assert.equal(String(exit.code), code);
    assert.equal(exit.failure, says);
    await harness.remove(made);
  }
});

test("a user or group that the image does not know is refused at the start", async () => {
  const cases = [
    { username: "eve", says: "unable to find user eve: no matching entries in passwd file" },
    { username: "bob:nogroup", says: "unable to find group nogroup: no matching entries in group file" },
    { username: "4294967295", says: "uids and gids must be in range 0-2147483647" },
  ];
  for (const { username, says } of cases) {
    const made = await harness.make({ args: ["true"], process: { user: { uid: 0, gid: 0, username } } });
    await assert.rejects(made.container.start(bound()), { message: says });
    await harness.remove(made);
  }
});

test("a mount that cannot be made fails the creation, says why and leaves nothing", async () => {
  const cgroups = openCgroups();
  const before = cgroups.children(harness.bed.cgroupParent);
  await assert.rejects(
    harness.make({
      args: ["true"],
      mounts: [{ destination: "/x", type: "bind", source: "/no/such/place", options: ["rbind"] }],
    }),
    { message: "bind source path does not exist: /no/such/place" },
  );
  await assert.rejects(
    harness.make({ args: ["true"], mounts: [{ destination: "/etc/passwd/x", type: "tmpfs", source: "tmpfs" }] }),
    /\/etc\/passwd\/x in the container: not a directory/,
  );
  await assert.rejects(
    harness.make({
      args: ["true"],
      mounts: [{ destination: "/x", type: "tmpfs", source: "tmpfs", options: ["size=zebra"] }],
    }),
    /option size=zebra of a tmpfs mount: invalid argument/,
  );
  assert.deepEqual(cgroups.children(harness.bed.cgroupParent), before);
  assert.deepEqual(readdirSync(harness.bed.runDir), []);
});

test("the layers of an image lie over each other, and many of them are no trouble", async () => {
  const layers: string[] = [];
  for (let index = 0; index < 100; index++) {
    const layer = join(harness.bed.base, `layers,with:odd names ${index}`.padEnd(120, "x"));
    mkdirSync(layer, { recursive: true });
    writeFileSync(join(layer, "top"), String(index));
    writeFileSync(join(layer, `file${index}`), "");
    layers.push(layer);
  }
  const { exit, stdout } = await harness.run({
    args: ["sh", "-c", "cat /top; echo; ls / | grep -c file"],
    layers: [...layers, harness.bed.layer],
  });
  assert.equal(exit.code, 0);
  assert.equal(stdout, "0\n100\n");
});

test("what a container writes stays in its own folder and out of the layer", async () => {
  const made = await harness.start({ args: ["sh", "-c", "echo new > /made; echo changed > /etc/passwd"] });
  assert.equal((await made.container.wait(bound())).code, 0);
  assert.equal(existsSync(join(harness.bed.layer, "made")), false);
  assert.ok(existsSync(join(made.dir, "upper", "made")));
  await harness.remove(made);
});

test("hostile links in an image do not lead a mount out of the container", async () => {
  const evil = join(harness.bed.base, "evil");
  makeTinyLayer(evil);
  const outside = join(harness.bed.base, "outside");
  mkdirSync(outside);
  mkdirSync(join(evil, "evil"));
  symlinkSync("../../../../../../../..", join(evil, "evil", "up"));
  symlinkSync(outside, join(evil, "evil", "absolute"));
  symlinkSync("/not/there/yet", join(evil, "dangling"));
  symlinkSync("/proc/1/root", join(evil, "magic"));
  symlinkSync("loop", join(evil, "loop"));
  const source = join(harness.bed.base, "source");
  mkdirSync(source);
  writeFileSync(join(source, "flag"), "here");
  const bind = (destination: string): Parameters<Harness["run"]>[0]["mounts"] => [
    { destination, type: "bind", source, options: ["rbind", "ro"] },
  ];
  const inside = async (destination: string, path: string): Promise<void> => {
    const { exit, stdout } = await harness.run({
      args: ["cat", `${path}/flag`],
      layers: [evil],
      mounts: bind(destination) ?? [],
    });
    assert.deepEqual([exit.code, stdout], [0, "here"], destination);
  };
  await inside(`/evil/up${outside}`, outside);
  await inside("/evil/absolute/deep", `${outside}/deep`);
  await inside("/dangling", "/not/there/yet");
  await inside("/../../x/../y", "/y");
  assert.deepEqual(readdirSync(outside), []);
  assert.equal(existsSync("/not/there/yet"), false);
  await assert.rejects(
    harness.make({ args: ["true"], layers: [evil], mounts: bind("/loop/x") ?? [] }),
    /too many levels of symbolic links/,
  );
});

test("an image whose passwd is no file does not hold the start up", async () => {
  const odd = join(harness.bed.base, "odd");
  makeTinyLayer(odd);
  rmSync(join(odd, "etc", "passwd"));
  execFileSync("mkfifo", [join(odd, "etc", "passwd")]);
  const { exit, stdout } = await harness.run({
    args: ["stat", "-c", "%u", "/proc/self/"],
    layers: [odd],
    process: { user: { uid: 0, gid: 0, username: "12:34" } },
  });
  assert.deepEqual([exit.code, stdout], [0, "12\n"]);
});

async function waitForLog(made: Awaited<ReturnType<Harness["make"]>>, wanted: string): Promise<void> {
  const signal = bound();
  while (!textOf(await logOf(made), false).includes(wanted)) {
    signal.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
