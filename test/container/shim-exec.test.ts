// Commands in a running container, its terminal, and attaching to it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { STDIN_ANNOTATION } from "../../native/index.ts";
import { Harness, type Made, bound, collect, execIn, logOf, textOf } from "./support/harness.ts";

const harness = new Harness();
let long: Made;

before(async () => {
  long = await harness.start({ args: ["sleep", "1000"], process: { env: ["PATH=/bin", "A=1", "B=2"], cwd: "/tmp" } });
});
after(() => harness.close());

test("a command's exit code and both streams come back", async () => {
  const result = await execIn(long.container, ["sh", "-c", "echo out; echo err >&2; exit 42"]);
  assert.deepEqual(result, { code: 42, stdout: "out\n", stderr: "err\n" });
});

test("a command has the container's environment and folder, and what is asked over them", async () => {
  const same = await execIn(long.container, ["sh", "-c", "echo $A $B $HOME; pwd"]);
  assert.equal(same.stdout, "1 2 /root\n/tmp\n");
  const other = await execIn(long.container, ["sh", "-c", "echo $A $B $C $HOME; pwd; id -u; id -g; id -G"], {
    env: ["B=3", "C=4"],
    cwd: "/bin",
    user: "bob",
  });
  assert.equal(other.stdout, "1 3 4 /home/bob\n/bin\n1000\n1001\n1001 2000\n");
});

test("a command is in the container's namespaces and control groups", async () => {
  const { stdout } = await execIn(long.container, ["sh", "-c", "hostname; cat /proc/1/comm; cat /proc/self/cgroup"]);
  const lines = stdout.trim().split("\n");
  assert.deepEqual(lines.slice(0, 2), ["tiny", "sleep"]);
  const pids = lines.find((line) => /:pids:|^0::/.test(line));
  assert.match(pids ?? "", /:\/$/);
});

test("a command that cannot be run is refused with its reason", async () => {
  await assert.rejects(execIn(long.container, ["nope"]), {
    code: "NotFound",
    message: 'exec: "nope": executable file not found in $PATH',
  });
  await assert.rejects(execIn(long.container, ["true"], { user: "eve" }), /unable to find user eve/);
  await assert.rejects(execIn(long.container, ["true"], { cwd: "/nope" }), /working directory \/nope: no such file/);
  await assert.rejects(execIn(long.container, ["a\0b"]), /holds a NUL byte/);
});

test("input reaches a command whole and ends when it is ended", async () => {
  const input = "0123456789abcdef".repeat(200_000);
  const { stdout } = await execIn(long.container, ["wc", "-c"], { input });
  assert.equal(stdout, `${input.length}\n`);
});

test("input for a command that reads none does not hold anything up", async () => {
  const { code } = await execIn(long.container, ["true"], { input: "x".repeat(10) });
  assert.equal(code, 0);
});

test("a slow reader holds the command back and loses nothing", async () => {
  const session = await long.container.exec(
    {
      args: ["sh", "-c", "head -c 8000000 /dev/zero"],
      env: [],
      cwd: "",
      user: "",
      tty: false,
      stdin: false,
      size: undefined,
    },
    bound(),
  );
  session.stderr.resume();
  await once(session.stdout, "readable");
  // Meanwhile others are served.
  assert.equal((await execIn(long.container, ["echo", "hi"])).stdout, "hi\n");
  assert.equal((await collect(session.stdout)).length, 8_000_000);
  assert.equal(await session.wait(), 0);
});

test("a command with a terminal has its size, follows a resize, and its end ends the session", async () => {
  const session = await long.container.exec(
    {
      args: ["sh", "-c", "test -t 0 && test -t 1 && stty size; read line; stty size; exit 7"],
      env: [],
      cwd: "",
      user: "",
      tty: true,
      stdin: true,
      size: { columns: 101, rows: 33 },
    },
    bound(),
  );
  let output = "";
  // Before anybody reads: what is there already is handed out with the first read.
  session.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    if (output.includes("33 101") && !output.includes("go")) {
      session.resize({ columns: 80, rows: 25 });
      void session.write(Buffer.from("go\r"));
    }
  });
  const seen = collect(session.stdout);
  session.stderr.resume();
  assert.equal(await session.wait(), 7);
  await seen;
  assert.match(output, /33 101\r\n[^]*25 80\r\n/);
});

test("a session that is closed hangs its command up", async () => {
  const session = await long.container.exec(
    { args: ["sh", "-c", "echo $$; sleep 1000"], env: [], cwd: "", user: "", tty: true, stdin: true, size: undefined },
    bound(),
  );
  const [first] = (await once(session.stdout, "data")) as [Buffer];
  session.close();
  const pid = first.toString().trim();
  const signal = bound();
  while ((await execIn(long.container, ["sh", "-c", `test -d /proc/${pid} && echo there; true`])).stdout !== "") {
    signal.throwIfAborted();
  }
});

test("a signal can be sent to a command", async () => {
  const session = await long.container.exec(
    { args: ["sleep", "1000"], env: [], cwd: "", user: "", tty: false, stdin: false, size: undefined },
    bound(),
  );
  session.stdout.resume();
  session.stderr.resume();
  session.kill(9);
  assert.equal(await session.wait(), 137);
});

test("a container's end ends the commands in it", async () => {
  const made = await harness.start({ args: ["sleep", "1000"] });
  const session = await made.container.exec(
    { args: ["sleep", "1000"], env: [], cwd: "", user: "", tty: false, stdin: false, size: undefined },
    bound(),
  );
  session.stdout.resume();
  session.stderr.resume();
  await made.container.kill(9, bound());
  assert.equal(await session.wait(), 137);
  await made.container.wait(bound());
  await assert.rejects(execIn(made.container, ["true"]), { code: "Unavailable" });
  await harness.remove(made);
});

test("a paused container stands still, refuses commands, and goes on", async () => {
  const made = await harness.start({ args: ["sh", "-c", "while :; do echo x; sleep 0.01; done"] });
  await made.container.pause(bound());
  await assert.rejects(execIn(made.container, ["true"]), /is paused/);
  // What it had written before is still on its way to the log.
  await execIn(long.container, ["sleep", "0.1"]);
  const { cpuNs } = await made.container.stats();
  const lines = (await logOf(made)).length;
  await execIn(long.container, ["sleep", "0.1"]);
  assert.equal((await logOf(made)).length, lines);
  assert.equal((await made.container.stats()).cpuNs, cpuNs);
  await made.container.unpause(bound());
  assert.equal((await execIn(made.container, ["echo", "on"])).stdout, "on\n");
  await harness.remove(made);
});

test("whoever attaches sees the output from then on, and may write where standard input is open", async () => {
  const made = await harness.make({
    args: ["sh", "-c", "read a; echo got $a; echo bad >&2; cat > /dev/null; exit 9"],
    annotations: { [STDIN_ANNOTATION]: "true" },
  });
  const session = await made.container.attach({ stdin: true }, bound());
  const watching = await made.container.attach({ stdin: false }, bound());
  await assert.rejects(watching.write(Buffer.from("x")), /standard input is not open/);
  await made.container.start(bound());
  void session.write(Buffer.from("that\n"));
  session.endInput();
  const [stdout, stderr, code] = await Promise.all([collect(session.stdout), collect(session.stderr), session.wait()]);
  assert.deepEqual([stdout, stderr, code], ["got that\n", "bad\n", 9]);
  assert.equal(await collect(watching.stdout), "got that\n");
  assert.equal(await watching.wait(), 9);
  await harness.remove(made);
});

test("an attached client that does not read is cut off and the container goes on", async () => {
  const made = await harness.make({
    args: ["sh", "-c", "head -c 6000000 /dev/zero | tr '\\0' 'x'; echo; echo done; exit 4"],
  });
  const session = await made.container.attach({ stdin: false }, bound());
  await made.container.start(bound());
  assert.equal((await made.container.wait(bound())).code, 4);
  session.stderr.resume();
  assert.ok((await collect(session.stdout)).length < 6_000_000);
  await assert.rejects(session.wait(), { code: "Unavailable" });
  assert.match(textOf(await logOf(made, { tail: 1 }), false), /^done\n$/);
  await harness.remove(made);
});

test("a container with a terminal has a console, and one stream of output", async () => {
  const made = await harness.make({
    args: ["sh", "-c", "stty size; test -t 2; echo $?; ls -l /dev/console | grep -c '^c'; echo err >&2"],
    process: { terminal: true, consoleSize: { width: 70, height: 20 } },
  });
  const session = await made.container.attach({ stdin: true }, bound());
  await made.container.start(bound());
  session.stderr.resume();
  const output = await collect(session.stdout);
  assert.equal(output, "20 70\r\n0\r\n1\r\nerr\r\n");
  assert.equal(await session.wait(), 0);
  await harness.remove(made);
});
