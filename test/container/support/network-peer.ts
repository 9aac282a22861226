// A process in a network namespace of its own, as a container or another machine has it: it serves and calls on request. Also
// the calls themselves, for use from the test's own namespace.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, connect } from "node:net";
import { fileURLToPath } from "node:url";

/** A call that is not answered within this is lost. Generous: the machine may be busy. */
const ANSWER_MS = 3_000;
/** For calls that are expected to be lost. */
export const LOST_MS = 400;

export interface Target {
  readonly protocol: "tcp" | "udp";
  readonly host: string;
  readonly port: number;
  readonly withinMs?: number;
}

/** What the server says ("NAME CLIENT-ADDRESS"), or the errno's name, or "lost". */
export async function call(target: Target): Promise<string> {
  return target.protocol === "tcp" ? callTcp(target) : callUdp(target);
}

function callTcp({ host, port, withinMs = ANSWER_MS }: Target): Promise<string> {
  return new Promise((resolve) => {
    let said = "";
    const socket = connect({ host, port });
    const timer = setTimeout(() => socket.destroy(Object.assign(new Error(), { code: "lost" })), withinMs);
    socket.on("data", (data) => (said += data.toString()));
    socket.on("error", (error: NodeJS.ErrnoException) => (said = error.code ?? "unknown"));
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(said);
    });
  });
}

function callUdp({ host, port, withinMs = ANSWER_MS }: Target): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    const end = (said: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(said);
    };
    const timer = setTimeout(() => end("lost"), withinMs);
    socket.on("message", (data) => end(data.toString()));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? "unknown"));
    socket.connect(port, host, () => socket.send("?"));
  });
}

interface Service {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly name: string;
}

async function serve({ protocol, port, name }: Service): Promise<void> {
  if (protocol === "tcp") {
    const server = createServer((socket) => socket.end(`${name} ${socket.remoteAddress ?? ""}`));
    await once(server.listen(port, "0.0.0.0"), "listening");
    return;
  }
  const socket = createSocket("udp4");
  socket.on("message", (_data, from) => socket.send(`${name} ${from.address}`, from.port, from.address));
  await once(socket.bind(port, "0.0.0.0"), "listening");
}

type Request =
  | { readonly id: number; readonly kind: "call"; readonly target: Target }
  | { readonly id: number; readonly kind: "serve"; readonly service: Service };
interface Answer {
  readonly id: number;
  readonly text: string;
}

export class Peer {
  readonly #child: ChildProcess;
  #nextId = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(): Promise<Peer> {
    const program = [process.execPath, fileURLToPath(import.meta.url), "peer"];
    const child = spawn("unshare", ["-n", ...program], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    await once(child, "message");
    return new Peer(child);
  }

  get pid(): number {
    return this.#child.pid ?? assert.fail("the peer has no process");
  }

  async serve(service: Service): Promise<void> {
    await this.#ask({ kind: "serve", service, id: this.#nextId++ });
  }

  call(target: Target): Promise<string> {
    return this.#ask({ kind: "call", target, id: this.#nextId++ });
  }

  /** Its namespace goes with it. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  #ask(request: Request): Promise<string> {
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error("the peer has ended"));
      const hear = (message: unknown): void => {
        const answer = message as Answer;
        if (answer.id !== request.id) return;
        this.#child.off("message", hear);
        this.#child.off("exit", ended);
        resolve(answer.text);
      };
      this.#child.on("message", hear);
      this.#child.once("exit", ended);
      this.#child.send(request);
    });
  }
}

function bePeer(): void {
  const answer = (message: Answer): void => void process.send?.(message);
  process.on("message", (message) => {
    const request = message as Request;
    const done = request.kind === "call" ? call(request.target) : serve(request.service).then(() => "");
    done.then(
      (text) => answer({ id: request.id, text }),
      (error: unknown) => answer({ id: request.id, text: String(error) }),
    );
  });
  process.on("disconnect", () => process.exit());
  answer({ id: 0, text: "ready" });
}

if (process.argv[2] === "peer") bePeer();
