// One check of a container: its command as an exec, killed when it takes too long, the beginning of its output kept.

import type { Container, Session } from "../../native/index.ts";
import { abortable, withDeadline } from "../../proto/base/abort.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { HealthCheck } from "./health-config.ts";
import { HEALTH_OUTPUT_BYTES_MAX, type HealthResult } from "./health-log.ts";

const SIGKILL = 9;

/** Runs the check once. Rejects only when `signal` aborts; the command is then killed too. */
export async function probe(
  options: {
    readonly container: Pick<Container, "exec">;
    readonly check: Pick<HealthCheck, "args" | "timeoutMs">;
    readonly clock: Clock;
  },
  signal: AbortSignal,
): Promise<HealthResult> {
  const { check, clock, container } = options;
  const startedAtMs = clock.now();
  const output = new Output();
  const result = (exitCode: number, text: string): HealthResult => {
    return { startedAtMs, endedAtMs: clock.now(), exitCode, output: text };
  };
  try {
    const what = "the health check";
    const code = await withDeadline({ clock, ms: check.timeoutMs, what, parent: signal }, async (soon) => {
      const plain = { env: [], cwd: "", user: "", tty: false, stdin: false, size: undefined };
      const session = await container.exec({ args: check.args, ...plain }, soon);
      return run(session, output, soon);
    });
    return result(code, output.text);
  } catch (error) {
    signal.throwIfAborted();
    const late = isSwarmError(error, "DeadlineExceeded") && output.text !== "";
    return result(-1, late ? `${errorText(error)}: ${output.text}` : errorText(error));
  }
}

async function run(session: Session, output: Output, signal: AbortSignal): Promise<number> {
  const streams = [session.stdout, session.stderr];
  const drain = (): void => {
    for (const stream of streams) {
      for (let chunk = read(stream); chunk !== null; chunk = read(stream)) output.take(chunk);
    }
  };
  for (const stream of streams) {
    stream.on("readable", drain);
    // A session that breaks off says so by its end.
    stream.on("error", () => undefined);
  }
  const ended = session.wait();
  try {
    return await abortable(ended, signal);
  } catch (error) {
    session.kill(SIGKILL);
    throw error;
  } finally {
    drain();
    session.close();
  }
}

function read(stream: NodeJS.ReadableStream): Buffer | null {
  const chunk = stream.read() as Buffer | string | null;
  return typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}

/** The beginning of what was written; the rest is read and dropped, so that nobody waits for room. */
class Output {
  #kept = Buffer.alloc(0);

  get text(): string {
    return this.#kept.toString("utf8").trim();
  }

  take(chunk: Buffer): void {
    const room = HEALTH_OUTPUT_BYTES_MAX - this.#kept.length;
    if (room > 0) this.#kept = Buffer.concat([this.#kept, chunk.subarray(0, room)]);
  }
}
