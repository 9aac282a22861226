// Makes the cluster's API linearizable on the leader: what it answers is true at a moment between the call and the answer. Reads wait
// for a barrier; a write proves itself by its commit; a write that was refused over a state that may have been old is tried once more.

import { errorText, isSwarmError } from "../proto/base/errors.ts";
import type { CallContext } from "../proto/rpc/caller.ts";
import type { ClusterControl } from "./control/cluster-control.ts";
import type { GroupLog } from "./group-log.ts";
import { notTaken } from "./store/not-taken.ts";
import type { Store } from "./store/store.ts";

export interface LinearOptions {
  readonly log: Pick<GroupLog, "readBarrier">;
  readonly store: Pick<Store, "version">;
}

type Unary = Exclude<keyof ClusterControl, "watch" | "logs" | "exec">;

/** What changes nothing. */
export const CONTROL_READS: readonly (keyof ClusterControl)[] = [
  "getCluster",
  "listNodes",
  "getNode",
  "listServices",
  "getService",
  "listTasks",
  "getTask",
  "watch",
  "logs",
];

export function linearControl(control: ClusterControl, options: LinearOptions): ClusterControl {
  const barrier = async ({ signal }: CallContext): Promise<void> => {
    try {
      await options.log.readBarrier(signal);
    } catch (error) {
      if (!isSwarmError(error, "Unavailable")) throw error;
      throw notTaken(errorText(error), error);
    }
  };
  const read =
    <K extends Unary>(name: K) =>
    async (request: Parameters<ClusterControl[K]>[0], context: CallContext): Promise<unknown> => {
      await barrier(context);
      return call(control, name)(request, context);
    };
  const write =
    <K extends Unary>(name: K) =>
    async (request: Parameters<ClusterControl[K]>[0], context: CallContext): Promise<unknown> => {
      const { version } = options.store;
      try {
        return await call(control, name)(request, context);
      } catch (error) {
        if (!isSwarmError(error, "NotFound", "AlreadyExists", "FailedPrecondition", "OutOfSequence", "InvalidArgument"))
          throw error;
        await barrier(context);
        if (options.store.version === version) throw error;
        return await call(control, name)(request, context);
      }
    };
  const stream = (name: "watch" | "logs" | "exec") =>
    async function* (request: never, context: CallContext): AsyncGenerator {
      await barrier(context);
      yield* (control[name] as (request: never, context: CallContext) => AsyncIterable<unknown>)(request, context);
    };
  const reads: readonly string[] = CONTROL_READS;
  const entries = Object.keys(control).map((name) => {
    if (name === "watch" || name === "logs" || name === "exec") return [name, stream(name)];
    return [name, reads.includes(name) ? read(name as Unary) : write(name as Unary)];
  });
  return Object.fromEntries(entries) as ClusterControl;
}

function call(control: ClusterControl, name: Unary): (request: unknown, context: CallContext) => Promise<unknown> {
  return control[name] as (request: unknown, context: CallContext) => Promise<unknown>;
}
