// The runtime, images and network under a container controller, as entries of maps that outlive controllers. What is wired and
// what is reserved can be looked at, so that a test sees leaks.

import { PassThrough } from "node:stream";
import type { ImageHealthcheck } from "../../agent/container/health-config.ts";
import type { ContainerParts, Reservation } from "../../agent/container/parts.ts";
import type {
  Adopted,
  Container,
  ContainerOptions,
  ContainerRuntime,
  ExitRecord,
  Session,
} from "../../native/index.ts";
import { abortable } from "../../proto/base/abort.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { silentLogger } from "../../proto/base/log.ts";

interface Process {
  state: "created" | "running" | "exited" | "lost";
  readonly options: ContainerOptions;
  readonly ended: PromiseWithResolvers<undefined>;
  readonly signals: number[];
  exit: ExitRecord | undefined;
  /** Ends by itself when it gets one of these. */
  dies: readonly number[];
}

export type FakeCall =
  "resolve" | "reserve" | "compose" | "create" | "attach" | "start" | "withdraw" | "remove" | "detach";

/** What is under the controllers of one node. */
export class FakeGround {
  readonly processes: Map<string, Process> = new Map();
  /** Container ids with an address. */
  readonly reserved: Set<string> = new Set();
  /** Container ids with wires. */
  readonly wired: Set<string> = new Set();
  readonly calls: FakeCall[] = [];
  /** The next call of this kind fails with that. */
  readonly failures: Map<FakeCall, SwarmError> = new Map();
  /** What images say of health checks. */
  healthcheck: ImageHealthcheck | undefined;
  /** How a health check ends: an exit code, or never. Absent: commands are sessions that end with their input. */
  check: (() => number | Promise<number>) | undefined;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  parts(dir: string): ContainerParts {
    return {
      dir,
      runDir: "/run/fake",
      cgroupParent: "/fake",
      clock: this.#clock,
      logger: silentLogger,
      runtime: this.#runtime,
      images: {
        resolve: async (ref) => {
          await this.#play("resolve");
          if (ref === "web:9") throw new SwarmError("NotFound", "No such image: web:9");
          return {
            id: `sha256:${ref}`,
            config: { config: { StopSignal: "SIGQUIT", Healthcheck: this.healthcheck } },
            layers: ["/layers/1"],
          };
        },
      },
      compose: async ({ hostname }) => {
        await this.#play("compose");
        return {
          ociVersion: "1.0.2",
          hostname,
          root: { path: "/" },
          process: { args: ["sh"], env: [], cwd: "/", user: { uid: 0, gid: 0 } },
          mounts: [],
          linux: { namespaces: [], cgroupsPath: "/fake" },
        };
      },
      network: {
        reserve: async ({ containerId, ports }): Promise<Reservation> => {
          await this.#play("reserve");
          this.reserved.add(containerId);
          return { addresses: ["10.0.0.2/24"], ports };
        },
        attach: async ({ containerId }) => {
          await this.#play("attach");
          this.wired.add(containerId);
        },
        withdraw: () => this.#play("withdraw"),
        detach: async (containerId) => {
          await this.#play("detach");
          const state = this.processes.get(containerId)?.state;
          if (state === "created" || state === "running") throw new Error("detached under a live container");
          this.reserved.delete(containerId);
          this.wired.delete(containerId);
        },
        reconcile: (known) => {
          for (const id of this.reserved) if (!known.has(id)) this.reserved.delete(id);
          return Promise.resolve();
        },
      },
    };
  }

  /** The program ends. */
  exit(id: string, code: number, signal = 0): void {
    const process = this.#get(id);
    const now = this.#clock.now();
    process.state = "exited";
    process.exit = { code, signal, oomKilled: false, startedAtMs: now, exitedAtMs: now };
    process.ended.resolve(undefined);
  }

  /** Shim and container are gone without a trace. */
  lose(id: string): void {
    const process = this.#get(id);
    process.state = "lost";
    process.ended.resolve(undefined);
  }

  process(id: string): Process {
    return this.#get(id);
  }

  readonly #runtime: ContainerRuntime = {
    create: async (options) => {
      await this.#play("create");
      if (this.processes.has(options.id)) throw new Error("made twice");
      const ended = Promise.withResolvers<undefined>();
      this.processes.set(options.id, { state: "created", options, ended, signals: [], exit: undefined, dies: [3, 15] });
      return this.#container(options.id);
    },
    adopt: ({ id }): Promise<Adopted> => {
      const process = this.processes.get(id);
      if (process?.state === "created") return Promise.resolve({ kind: "created", container: this.#container(id) });
      if (process?.state === "running") return Promise.resolve({ kind: "running", container: this.#container(id) });
      if (process?.exit !== undefined) return Promise.resolve({ kind: "exited", exit: process.exit });
      return Promise.resolve({ kind: "lost" });
    },
  };

  #container(id: string): Container {
    const process = this.#get(id);
    return {
      id,
      pid: 4_242,
      start: async () => {
        try {
          await this.#play("start");
        } catch (error) {
          this.processes.delete(id);
          throw error;
        }
        process.state = "running";
      },
      kill: (signal) => {
        process.signals.push(signal);
        if (process.state === "running" && (signal === 9 || process.dies.includes(signal)))
          this.exit(id, 128 + signal, signal);
        return Promise.resolve();
      },
      pause: () => Promise.resolve(),
      unpause: () => Promise.resolve(),
      wait: async (signal) => {
        await abortable(process.ended.promise, signal);
        if (process.exit === undefined) throw new SwarmError("Unavailable", "no shim");
        return process.exit;
      },
      exec: ({ args }) => Promise.resolve(this.check === undefined ? session(args) : checkSession(this.check())),
      attach: () => Promise.resolve(session(["live"])),
      stats: () => Promise.resolve({ memoryBytes: 0, memoryLimitBytes: 0, cpuNs: 0, pids: 1 }),
      remove: async () => {
        await this.#play("remove");
        if (process.state !== "exited") this.processes.delete(id);
      },
      close: () => undefined,
    };
  }

  #get(id: string): Process {
    const process = this.processes.get(id);
    if (process === undefined) throw new Error(`no process of ${id}`);
    return process;
  }

  async #play(call: FakeCall): Promise<void> {
    this.calls.push(call);
    const failure = this.failures.get(call);
    this.failures.delete(call);
    await Promise.resolve();
    if (failure !== undefined) throw failure;
  }
}

/** A health check, which says how it ends. */
function checkSession(code: number | Promise<number>): Session {
  const plain = session([]);
  const stdout = new PassThrough();
  stdout.end(`code ${typeof code === "number" ? code : "late"}\nmore`);
  return { ...plain, stdout, wait: () => Promise.resolve(code) };
}

/** Says its words on standard output and what it is told on standard error, and ends with 7 when the input ends. */
function session(words: readonly string[]): Session {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const over = Promise.withResolvers<number>();
  stdout.end(words.join(" "));
  return {
    stdout,
    stderr,
    write: (data) => {
      stderr.write(data);
      return Promise.resolve();
    },
    endInput: () => {
      stderr.end();
      over.resolve(7);
    },
    resize: ({ columns, rows }) => void stderr.write(`${columns}x${rows} `),
    kill: () => undefined,
    wait: () => over.promise,
    close: () => over.resolve(255),
  };
}
