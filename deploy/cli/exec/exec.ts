// `tsswarm exec`: a command in a running task, on whichever node it runs.

import { spawnSync } from "node:child_process";
import type { Command } from "commander";
import type { ExecOpen, StreamFrame } from "../../../proto/gen/streams.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { Queue } from "../../../proto/base/queue.ts";
import { type Context, warn } from "../context.ts";
import { collect, envOf } from "../options.ts";

interface ExecFlags {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
}

/** Largest piece of input in one frame. */
const CHUNK_BYTES = 32_768;
/** Frames of input that wait for the connection before the terminal is held back. */
const FRAMES_MAX = 64;
/** What shells use for "no such command" and "not executable". */
const EXIT_STATUS: Readonly<Record<string, number>> = { NotFound: 127, PermissionDenied: 126 };

export function addExec(command: Command, context: Context): void {
  command
    .option("-i, --interactive", "Keep STDIN open even if not attached")
    .option("-t, --tty", "Allocate a pseudo-TTY")
    .option("-e, --env <variable>", "Set environment variables", collect)
    .option("-u, --user <user>", 'Username or UID (format: "<name|uid>[:<group|gid>]")')
    .option("-w, --workdir <dir>", "Working directory inside the container")
    .argument("<task>", "task id, unique prefix of one, or service.slot")
    .argument("<command>")
    .argument("[arg...]")
    .passThroughOptions()
    .action((ref: string, program: string, args: readonly string[], flags: ExecFlags) =>
      runExec(context, { ref, argv: [program, ...args], flags }),
    );
}

async function runExec(
  context: Context,
  request: { readonly ref: string; readonly argv: readonly string[]; readonly flags: ExecFlags },
): Promise<void> {
  const { flags } = request;
  const tty = flags.tty === true;
  const interactive = flags.interactive === true;
  if (tty && interactive && context.stdin.isTTY !== true) {
    throw new SwarmError("InvalidArgument", "the input device is not a TTY");
  }
  const control = await context.control();
  const task = await control.getTask({ ref: request.ref }, { signal: context.signal });
  const exec: ExecOpen = {
    args: request.argv,
    env: envOf(flags.env, context.env),
    dir: flags.workdir ?? "",
    user: flags.user ?? "",
    tty,
    stdin: interactive,
    size: tty ? terminalSize(context) : undefined,
    privileged: false,
  };
  const frames = new Queue<StreamFrame>(FRAMES_MAX);
  const open: StreamFrame = {
    frame: { $case: "open", value: { taskId: task.id, kind: { $case: "exec", value: exec } } },
  };
  await frames.put(open, context.signal);
  const release = interactive ? feedInput(context, { frames, tty }) : () => undefined;
  try {
    await showOutput(context, control.exec(frames, { signal: context.signal }));
  } finally {
    frames.end();
    release();
  }
}

/** A terminal that does not know its size says 0. */
function terminalSize(context: Context): { columns: number; rows: number } {
  const { columns = 0, rows = 0 } = context.stdout;
  return { columns: columns > 0 ? columns : 80, rows: rows > 0 ? rows : 24 };
}

/** Sends what is typed, and the terminal's size when it changes. The answer undoes it all. */
function feedInput(
  context: Context,
  options: { readonly frames: Queue<StreamFrame>; readonly tty: boolean },
): () => void {
  const { frames, tty } = options;
  const { stdin, stdout } = context;
  const send = (frame: StreamFrame["frame"]): Promise<void> => frames.put({ frame }, context.signal);
  const sendAll = async (bytes: Buffer): Promise<void> => {
    stdin.pause();
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
      await send({ $case: "stdin", value: bytes.subarray(at, at + CHUNK_BYTES) });
    stdin.resume();
  };
  // An aborted put means the command is over: there is nothing left to send to.
  const unlessOver = (sending: Promise<void>): void => void sending.catch(() => undefined);
  const onData = (data: Buffer | string): void =>
    unlessOver(sendAll(typeof data === "string" ? Buffer.from(data) : data));
  const onEnd = (): void => unlessOver(send({ $case: "stdinClosed", value: {} }));
  const onResize = (): void => unlessOver(send({ $case: "resize", value: terminalSize(context) }));
  if (tty) {
    stdin.setRawMode?.(true);
    // Node's raw mode leaves one thing on: the terminal would add a return to each line feed that the command wrote.
    spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
    stdout.on("resize", onResize);
  }
  stdin.on("data", onData);
  stdin.on("end", onEnd);
  return () => {
    stdin.removeListener("data", onData);
    stdin.removeListener("end", onEnd);
    stdout.removeListener("resize", onResize);
    if (tty) stdin.setRawMode?.(false);
    stdin.pause();
    // An open terminal would keep the command alive.
    stdin.destroy();
  };
}

async function showOutput(context: Context, answers: AsyncIterable<StreamFrame>): Promise<void> {
  for await (const { frame } of answers) {
    switch (frame?.$case) {
      case "stdout":
        await writeAll(context.stdout, frame.value);
        break;
      case "stderr":
        await writeAll(context.stderr, frame.value);
        break;
      case "dropped":
        warn(context, `tsswarm: ${frame.value.bytes} bytes of output were lost: it was read too slowly`);
        break;
      case "exit":
        context.exit(frame.value.code);
        return;
      case "error":
        context.exit(EXIT_STATUS[frame.value.code] ?? 1);
        warn(context, `Error response from daemon: ${frame.value.message}`);
        return;
      default:
        break;
    }
  }
  throw new SwarmError("Unavailable", "the connection to the task was lost before the command ended");
}

async function writeAll(target: Context["stdout"], data: Uint8Array): Promise<void> {
  if (!target.write(data)) await new Promise((resolve) => target.once("drain", resolve));
}
