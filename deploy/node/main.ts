// The daemon `tsswarmd`: claims its folder and socket, opens the machine, serves the local socket, and ends in order on TERM.

import { chmod } from "node:fs/promises";
import { CommanderError } from "commander";
import { systemClock } from "../../proto/base/clock.ts";
import { errorText, isSwarmError } from "../../proto/base/errors.ts";
import { createLogger } from "../../proto/base/log.ts";
import { systemRandom } from "../../proto/base/random.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { LocalService } from "../../proto/gen/local.ts";
import { RpcServer, localCaller } from "../../proto/rpc/serve.ts";
import { VERSION } from "../version.ts";
import { claimSocket, claimStateDir } from "./claim.ts";
import { controlDoor, localAccess, localDoor } from "./door.ts";
import { openMachine } from "./machine.ts";
import { SwarmNode } from "./node.ts";
import { type DaemonOptions, parseDaemonOptions } from "./options.ts";

/** Time for local calls to end by themselves. */
const CLOSE_GRACE_MS = 1_000;

async function serve(options: DaemonOptions): Promise<void> {
  const logger = createLogger({
    component: "tsswarmd",
    level: options.logLevel,
    now: () => systemClock.now(),
    write: (line) => process.stderr.write(line),
  });
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  const lock = claimStateDir(options.stateDir);
  await claimSocket(options.socket);
  const surroundings = { options, clock: systemClock, random: systemRandom, logger };
  logger.info("starting", { version: VERSION, pid: process.pid, state: options.stateDir });
  const machine = await openMachine(surroundings, stopping.signal);
  const node = new SwarmNode({
    ...surroundings,
    machine,
    onFailure: (error) => {
      logger.error("a part of the daemon has failed; it ends, and what is started again recovers", {
        error: errorText(error),
        stack: error instanceof Error ? (error.stack ?? "") : "",
      });
      process.exitCode = 1;
      stop();
    },
  });
  await node.start(stopping.signal);
  const server = new RpcServer({ logger: logger.child("rpc"), callerOf: localCaller });
  server.add(LocalService, localDoor(node), localAccess(LocalService));
  server.add(ControlService, controlDoor(node), localAccess(ControlService));
  await server.listenUnix(options.socket);
  await chmod(options.socket, 0o600);
  logger.info("ready", { socket: options.socket });
  await new Promise<void>((resolve) => {
    if (stopping.signal.aborted) resolve();
    else stopping.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  logger.info("stopping; containers run on");
  await server.close(CLOSE_GRACE_MS);
  await node.close();
  lock.release();
}

try {
  await serve(parseDaemonOptions(process.argv.slice(2)));
  process.exit();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode);
  const text = errorText(error);
  process.stderr.write(
    `tsswarmd: ${isSwarmError(error) || !(error instanceof Error) ? text : (error.stack ?? text)}\n`,
  );
  process.exit(1);
}
