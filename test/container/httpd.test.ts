// The demo's HTTP server, built with sanitizers and talked to over loopback: its answers, its bounds, its leave-taking.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { type Socket, connect } from "node:net";
import { hostname } from "node:os";
import { type TestContext, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const TESTROOT = fileURLToPath(new URL("../../native/testroot", import.meta.url));
const BINARY = fileURLToPath(new URL("../../native/build/httpd-sanitize", import.meta.url));
const BOUND = { timeout: 30_000 };

before(() => {
  const build = spawnSync("make", ["-s", "-C", TESTROOT, "sanitize"], { encoding: "utf8" });
  assert.equal(build.status, 0, build.stderr);
});

interface Server {
  readonly port: number;
  readonly child: ChildProcess;
  /** Settles when its output holds the word. */
  readonly said: (word: string) => Promise<void>;
  /** Status and signal; resolves when it has ended. */
  readonly ended: Promise<readonly [number | null, NodeJS.Signals | null]>;
}

/** Starts it on a free port (tried from a number of this process) and waits until it listens. */
async function start(t: TestContext, env: Readonly<Record<string, string>> = {}): Promise<Server> {
  for (let port = 20_000 + (process.pid % 20_000); port < 60_000; port += 1) {
    const child = spawn(BINARY, [], { env: { PORT: String(port), ...env }, stdio: ["ignore", "pipe", "pipe"] });
    t.after(() => child.kill("SIGKILL"));
    let errors = "";
    child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
    const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
    const listening = once(child.stdout, "data", { signal: AbortSignal.timeout(10_000) });
    const first = await Promise.race([listening.then(() => "listening"), ended.then(() => "ended")]);
    if (first === "listening") {
      t.after(() => assert.doesNotMatch(errors, /Sanitizer|runtime error/, errors));
      let output = "";
      child.stdout.on("data", (data: Buffer) => (output += data.toString()));
      const said = async (word: string): Promise<void> => {
        while (!output.includes(word)) await once(child.stdout, "data", { signal: AbortSignal.timeout(10_000) });
      };
      return { port, child, ended, said };
    }
    listening.catch(() => undefined);
    assert.match(errors, /in use/);
  }
  return assert.fail("no free port");
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

function get(
  port: number,
  path: string,
  options: { readonly method?: string; readonly host?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({
      port,
      path,
      host: options.host ?? "127.0.0.1",
      method: options.method ?? "GET",
      agent: false,
    });
    asked.on("error", reject);
    asked.on("response", (response) => {
      let body = "";
      response.on("data", (data: Buffer) => (body += data.toString()));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
    });
    asked.end();
  });
}

/** A raw connection, and all it has received. */
async function dial(
  t: TestContext,
  port: number,
): Promise<{ readonly socket: Socket; readonly received: () => string }> {
  const socket = connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  let text = "";
  socket.on("data", (data: Buffer) => (text += data.toString()));
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return { socket, received: () => text };
}

test("the first page names host, task, client and version", BOUND, async (t) => {
  const { port } = await start(t, { TSSWARM_TASK_NAME: "web.1.abc", VERSION: "7" });
  const { status, body } = await get(port, "/");
  assert.equal(status, 200);
  assert.match(body, new RegExp(`^hostname: ${hostname()}\ntask: web.1.abc\nclient: 127.0.0.1:\\d+\nversion: 7\n$`));
  assert.match((await get(port, "/", { host: "::1" })).body, /client: \[::1\]:\d+/);
});

test("every path answers as it says, and others with 404", BOUND, async (t) => {
  const { port } = await start(t, { COLOUR: "blue" });
  assert.deepEqual((await get(port, "/health")).body, "ok\n");
  assert.match((await get(port, "/env")).body, /^COLOUR=blue$/m);
  assert.equal((await get(port, "/bytes?n=100000")).body.length, 100_000);
  assert.equal((await get(port, "/bytes?n=0")).body, "");
  assert.equal((await get(port, "/sleep?x=1&ms=20")).body, "slept\n");
  assert.equal((await get(port, "/nothing")).status, 404);
  const head = await get(port, "/bytes?n=5000", { method: "HEAD" });
  assert.deepEqual([head.status, head.body, head.headers["content-length"]], [200, "", "5000"]);
  const post = await get(port, "/", { method: "POST" });
  assert.deepEqual([post.status, post.headers["allow"]], [405, "GET, HEAD"]);
});

test("a connection serves many requests, also those sent ahead", BOUND, async (t) => {
  const { port } = await start(t);
  const { socket, received } = await dial(t, port);
  socket.write("GET /health HTTP/1.1\r\n\r\n".repeat(20) + "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n");
  await once(socket, "end");
  assert.equal(received().match(/HTTP\/1\.1 200 OK/g)?.length, 21);
  const old = await dial(t, port);
  old.socket.write("GET /health HTTP/1.0\n\n");
  await once(old.socket, "end");
  assert.match(old.received(), /Connection: close\r\n\r\nok\n$/);
});

test("a head that comes byte by byte is read, and what is no request is refused", BOUND, async (t) => {
  const { port } = await start(t);
  const slow = await dial(t, port);
  for (const byte of "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n") {
    slow.socket.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await once(slow.socket, "end");
  assert.match(slow.received(), /200 OK/);
  const cases: readonly (readonly [string, RegExp])[] = [
    ["nonsense\r\n\r\n", /^HTTP\/1\.1 400/],
    ["GET nowhere HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400/],
    ["GET / HTTP/2.0\r\n\r\n", /^HTTP\/1\.1 400/],
    ["GET / HTTP/1.1\r\nbad header\r\n\r\n", /^HTTP\/1\.1 400/],
    ["GET / HTTP/1.1\r\nA\0: b\r\n\r\n", /^HTTP\/1\.1 400/],
    [`GET / HTTP/1.1\r\nX: ${"a".repeat(9_000)}`, /^HTTP\/1\.1 431/],
    ["DELETE / HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 405/],
    [
      "GET /health HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET /health HTTP/1.1\r\n\r\n......",
      /^HTTP\/1\.1 200(?!.*HTTP)/s,
    ],
  ];
  for (const [text, words] of cases) {
    const { socket, received } = await dial(t, port);
    socket.write(text);
    await once(socket, "end");
    assert.match(received(), words, JSON.stringify(text.slice(0, 40)));
  }
});

test("hundreds of connections are served side by side", BOUND, async (t) => {
  const { port } = await start(t);
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, index) => get(port, index % 2 === 0 ? "/" : "/bytes?n=300000")),
  );
  assert.ok(answers.every(({ status }) => status === 200));
});

test("on TERM it takes no new connections, finishes open requests and exits with 0", BOUND, async (t) => {
  const { port, child, ended, said } = await start(t);
  const slow = get(port, "/sleep?ms=700");
  const idle = await dial(t, port);
  idle.socket.write("GET /health HTTP/1.1\r\n\r\n");
  await once(idle.socket, "data");
  const half = await dial(t, port);
  half.socket.write("GET /health HT");
  await get(port, "/");
  child.kill("SIGTERM");
  await said("draining");
  await assert.rejects(get(port, "/"), /ECONNREFUSED/);
  half.socket.write("TP/1.1\r\n\r\n");
  await once(half.socket, "end");
  assert.match(half.received(), /^HTTP\/1\.1 503 .*Connection: close.*draining\n$/s);
  assert.equal((await slow).body, "slept\n");
  assert.deepEqual(await ended, [0, null]);
});

test("it ends with the status it is asked for, and a bad port is refused", BOUND, async (t) => {
  const { port, ended } = await start(t);
  assert.equal((await get(port, "/exit?code=42")).body, "bye\n");
  assert.deepEqual(await ended, [42, null]);
  for (const text of ["0", "65536", "http", "80x", ""]) {
    const run = spawnSync(BINARY, [text], { encoding: "utf8", timeout: 10_000 });
    assert.equal(run.status, 2);
    assert.match(run.stderr, /is no port/);
  }
});
