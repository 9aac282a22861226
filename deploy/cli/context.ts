// What a verb is given: the way to the daemon, the terminal, a signal that aborts on Ctrl-C. Verbs never touch process.*
// themselves, so that they can be run in a test.

import type { Readable, Writable } from "node:stream";
import type { ControlService } from "../../proto/gen/control.ts";
import type { LocalService } from "../../proto/gen/local.ts";
import type { Client } from "../../proto/rpc/methods.ts";

export interface Context {
  /** This node's daemon; loads the RPC library on first use. */
  local(): Promise<Client<typeof LocalService>>;
  /** The cluster's API, through the same socket. */
  control(): Promise<Client<typeof ControlService>>;
  readonly signal: AbortSignal;
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Unix time in milliseconds. */
  now(): number;
  /** Sets the exit status without ending the command. */
  exit(code: number): void;
}

export const SOCKET_DEFAULT = "/run/tsswarm/tsswarmd.sock";

/** Path of the daemon's socket: -H, then TSSWARM_HOST, then the default. A "unix://" before it is allowed. */
export function socketPath(options: { readonly host: string | undefined; readonly env: Context["env"] }): string {
  const host = options.host ?? options.env["TSSWARM_HOST"] ?? SOCKET_DEFAULT;
  return host.replace(/^unix:\/\//, "");
}

export function print(context: Context, text: string): void {
  context.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

export function warn(context: Context, text: string): void {
  context.stderr.write(text.endsWith("\n") ? text : `${text}\n`);
}
