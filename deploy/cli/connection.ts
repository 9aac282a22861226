// The connection to the daemon, in a file of its own so that help and version answers do not load the RPC library.

import { SwarmError, isSwarmError } from "../../proto/base/errors.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { LocalService } from "../../proto/gen/local.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { unixChannel } from "../../proto/rpc/channel.ts";
import type { Client } from "../../proto/rpc/methods.ts";

export interface Connection {
  readonly local: Client<typeof LocalService>;
  readonly control: Client<typeof ControlService>;
  close(): void;
}

export function openConnection(path: string): Connection {
  const channel = unixChannel(path);
  return {
    local: naming(createClient(LocalService, channel), { path, peer: channel.peer }),
    control: naming(createClient(ControlService, channel), { path, peer: channel.peer }),
    close: () => channel.close(),
  };
}

type Method = (request: unknown, options: unknown) => Promise<unknown> | AsyncIterable<unknown>;

/** The client with its errors worded for a person: those of the daemon marked as such, a missing daemon named. */
function naming<C extends object>(client: C, daemon: { readonly path: string; readonly peer: string }): C {
  const { path, peer } = daemon;
  const reword = (error: unknown): unknown => {
    if (!isSwarmError(error) || error.code === "Cancelled") return error;
    // A daemon may say the same of another machine that it could not reach.
    const missing = error.code === "Unavailable" && error.message.startsWith(`Cannot connect to ${peer}:`);
    if (!missing)
      return new SwarmError(error.code, error.message, { cause: error, details: { ...error.details, from: "daemon" } });
    const denied = error.message.includes("EACCES");
    const advice = denied ? "permission denied: run it as root" : "Is the tsswarm daemon (tsswarmd) running?";
    return new SwarmError("Unavailable", `Cannot connect to the tsswarm daemon at unix://${path}. ${advice}`, {
      cause: error,
    });
  };
  const reworded = async function* (stream: AsyncIterable<unknown>): AsyncGenerator {
    try {
      yield* stream;
    } catch (error) {
      throw reword(error);
    }
  };
  const entries = Object.entries(client as Record<string, Method>).map(([name, method]) => [
    name,
    (request: unknown, options: unknown) => {
      const answer = method(request, options);
      return answer instanceof Promise
        ? answer.catch((error: unknown) => {
            throw reword(error);
          })
        : reworded(answer);
    },
  ]);
  return Object.fromEntries(entries) as C;
}
