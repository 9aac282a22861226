// Serves people's streams of one container: a command in it (exec), its live output (attach), its log. Output is pulled, so the
// slowest reader on the way sets the pace; what the shim then drops it tells by cutting the session off.

import type { Container, Session } from "../../native/index.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { Notice } from "../../proto/base/notice.ts";
import type { ExecOpen, StreamFrame, StreamOpen } from "../../proto/gen/streams.ts";
import { type LogSource, serveLogs } from "./logs.ts";

/** Data of one frame. */
const FRAME_BYTES_MAX = 65_536;

export interface StreamSource extends LogSource {
  readonly open: StreamOpen;
  /** While it runs. */
  readonly container: Container | undefined;
}

/** The frames of one stream. The last is `exit`; trouble is thrown, and the caller makes the `error` frame of it. */
export async function* serveStream(
  source: StreamSource,
  input: AsyncIterable<StreamFrame>,
  signal: AbortSignal,
): AsyncGenerator<StreamFrame, void, undefined> {
  const { kind } = source.open;
  switch (kind?.$case) {
    case "exec": {
      const container = running(source);
      const session = await container.exec(execOptions(kind.value), signal);
      yield { frame: { $case: "started", value: {} } };
      yield* serveSession(session, input, signal);
      return;
    }
    case "attach": {
      const session = await running(source).attach({ stdin: kind.value.stdin }, signal);
      yield { frame: { $case: "started", value: {} } };
      yield* serveSession(session, input, signal);
      return;
    }
    case "logs":
      yield* serveLogs(kind.value, source, signal);
      yield { frame: { $case: "exit", value: { code: 0 } } };
      return;
    case undefined:
      throw new SwarmError("InvalidArgument", "the stream says neither exec, attach nor logs");
  }
}

function running({ container, open }: StreamSource): Container {
  if (container !== undefined) return container;
  throw new SwarmError("FailedPrecondition", `task ${open.taskId} is not running`);
}

function execOptions(open: ExecOpen): Parameters<Container["exec"]>[0] {
  if (open.args.length === 0) throw new SwarmError("InvalidArgument", "exec needs a command");
  return {
    args: open.args,
    env: open.env,
    cwd: open.dir,
    user: open.user,
    tty: open.tty,
    stdin: open.stdin,
    size: open.size,
  };
}

async function* serveSession(
  session: Session,
  input: AsyncIterable<StreamFrame>,
  signal: AbortSignal,
): AsyncGenerator<StreamFrame, void, undefined> {
  try {
    void feed(session, input);
    yield* output(session, signal);
    yield { frame: { $case: "exit", value: { code: await session.wait() } } };
  } finally {
    session.close();
  }
}

/** Input to the session until either ends. What a command no longer reads is dropped, as a pipe without a reader does. */
async function feed(session: Session, input: AsyncIterable<StreamFrame>): Promise<void> {
  let open = true as boolean;
  try {
    for await (const { frame } of input) {
      if (frame?.$case === "resize") session.resize(frame.value);
      else if (frame?.$case === "stdinClosed") session.endInput();
      else if (frame?.$case === "stdin" && open) {
        await session.write(frame.value).catch(() => {
          open = false;
        });
      }
    }
  } catch {
    // The sender's end broke off: its stream says so to whom it concerns, the session goes by its own end.
    session.endInput();
  }
}

/** Output of both streams in the order in which it came, as far as that is known. */
async function* output(session: Session, signal: AbortSignal): AsyncGenerator<StreamFrame, void, undefined> {
  const changed = new Notice();
  const sources = [
    { name: "stdout", stream: session.stdout },
    { name: "stderr", stream: session.stderr },
  ] as const;
  const open = new Set<(typeof sources)[number]>(sources);
  let failure: { readonly error: unknown } | undefined;
  for (const source of sources) {
    source.stream.on("readable", () => changed.raise());
    // A session that is cut off closes its streams without ending them.
    for (const event of ["end", "close"]) {
      source.stream.on(event, () => {
        open.delete(source);
        changed.raise();
      });
    }
    source.stream.on("error", (error) => {
      failure = { error };
      changed.raise();
    });
  }
  while (open.size > 0) {
    for (const { name, stream } of open) {
      for (let chunk = read(stream); chunk !== null; chunk = read(stream)) {
        for (let from = 0; from < chunk.length; from += FRAME_BYTES_MAX) {
          yield { frame: { $case: name, value: chunk.subarray(from, from + FRAME_BYTES_MAX) } };
        }
      }
    }
    if (failure !== undefined) throw failure.error;
    if (open.size > 0) await changed.wait(signal);
  }
}

function read(stream: NodeJS.ReadableStream): Buffer | null {
  const chunk = stream.read() as Buffer | string | null;
  return typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}
