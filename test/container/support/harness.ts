// Containers for tests: made through the real runtime, remembered, and removed at the end whatever happened.

import { join } from "node:path";

import { type LogLineRecord, defaultShimPath, openContainerRuntime, readLogs } from "../../../native/index.ts";
import type { Container, ContainerRuntime, ExecOptions, ExitRecord } from "../../../native/index.ts";
import { openCgroups } from "../../../native/cgroup.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { type SpecChange, type TestBed, makeTestBed, newId, tinySpec } from "./tiny-root.ts";

/** Longest that anything in one test may take. */
const BOUND_MS = 60_000;

export function bound(): AbortSignal {
  return AbortSignal.timeout(BOUND_MS);
}

export interface Made {
  readonly id: string;
  readonly dir: string;
  readonly logPath: string;
  readonly container: Container;
}

export interface MakeChange extends SpecChange {
  readonly layers?: readonly string[];
  readonly log?: { readonly maxBytes: number; readonly maxFiles: number };
}

export class Harness {
  readonly bed: TestBed = makeTestBed();
  /** TSSWARM_TEST_SHIM runs the tests with another build of the shim, as the one that checks itself. */
  readonly runtime: ContainerRuntime = openContainerRuntime({
    clock: systemClock,
    shimPath: process.env["TSSWARM_TEST_SHIM"] ?? defaultShimPath(),
  });
  readonly #made = new Set<Made>();

  async make(change: MakeChange): Promise<Made> {
    const id = newId();
    const dir = this.bed.dirOf(id);
    const logPath = join(dir, "log");
    const spec = tinySpec({ id, dir, cgroupParent: this.bed.cgroupParent }, change);
    const { maxBytes, maxFiles } = change.log ?? { maxBytes: 1_000_000, maxFiles: 3 };
    const container = await this.runtime.create(
      {
        id,
        dir,
        runDir: this.bed.runDir,
        spec,
        layers: change.layers ?? [this.bed.layer],
        log: { path: logPath, maxBytes, maxFiles },
      },
      bound(),
    );
    const made = { id, dir, logPath, container };
    this.#made.add(made);
    return made;
  }

  /** Makes and starts. */
  async start(change: MakeChange): Promise<Made> {
    const made = await this.make(change);
    await made.container.start(bound());
    return made;
  }

  /** Runs to the end. */
  async run(
    change: MakeChange,
  ): Promise<{ readonly exit: ExitRecord; readonly stdout: string; readonly stderr: string }> {
    const made = await this.start(change);
    const exit = await made.container.wait(bound());
    const lines = await logOf(made);
    await this.remove(made);
    return { exit, stdout: textOf(lines, false), stderr: textOf(lines, true) };
  }

  async remove(made: Made): Promise<void> {
    await made.container.remove(bound());
    this.#made.delete(made);
  }

  /** Takes everything away, cgroups included. */
  async close(): Promise<void> {
    for (const made of this.#made) await this.remove(made);
    await openCgroups().removeTree(this.bed.cgroupParent, bound());
    this.bed.remove();
  }
}

export async function logOf(
  made: Pick<Made, "logPath">,
  change: { readonly tail?: number } = {},
): Promise<LogLineRecord[]> {
  const options = { follow: false, sinceMs: 0, stdout: true, stderr: true, clock: systemClock, ended: () => true };
  const lines: LogLineRecord[] = [];
  for await (const line of readLogs({ path: made.logPath, tail: change.tail, ...options }, bound())) lines.push(line);
  return lines;
}

export function textOf(lines: readonly LogLineRecord[], stderr: boolean): string {
  return lines
    .map((line) =>
      line.kind === "line" && line.stderr === stderr ? line.data.toString("utf8") + (line.partial ? "" : "\n") : "",
    )
    .join("");
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command in a running container, to its end. */
export async function execIn(
  container: Container,
  args: readonly string[],
  change: Partial<ExecOptions> & { readonly input?: string } = {},
): Promise<ExecResult> {
  const { input, ...options } = change;
  const session = await container.exec(
    { args, env: [], cwd: "", user: "", tty: false, stdin: input !== undefined, size: undefined, ...options },
    bound(),
  );
  if (input !== undefined) {
    void session.write(Buffer.from(input));
    session.endInput();
  }
  const [stdout, stderr, code] = await Promise.all([collect(session.stdout), collect(session.stderr), session.wait()]);
  return { code, stdout, stderr };
}

export async function collect(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += chunk.toString();
  return text;
}
