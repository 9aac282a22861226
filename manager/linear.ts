// Makes the cluster's API linearizable on the leader: what it answers is true at a moment between the call and the answer. Reads wait
// for a barrier; a write proves itself by its commit; a write that was refused over a state that may have been old is tried once more.

import { type ErrorCode, errorText, isSwarmError } from "../proto/base/errors.ts";
import type { CallContext } from "../proto/rpc/caller.ts";
import type { ClusterControl } from "./control/cluster-control.ts";
import type { GroupLog } from "./group-log.ts";
import { notTaken } from "./store/not-taken.ts";
import type { Store } from "./store/store.ts";

export interface LinearOptions {
  readonly log: Pick<GroupLog, "readBarrier">;
  readonly store: Pick<Store, "version">;
}

/** Refusals that may come of a state that is not the newest any more. */
const STATEFUL: readonly ErrorCode[] = [
  "NotFound",
  "AlreadyExists",
  "FailedPrecondition",
  "OutOfSequence",
  "InvalidArgument",
  "PermissionDenied",
];

type Unary = Exclude<keyof ClusterControl, "watch" | "logs" | "exec">;

/** What changes nothing. */
export const CONTROL_READS: readonly (keyof ClusterControl)[] = [
  "getCluster",
  "listNodes",
  "getNode",
  "listServices",
  "getService",
  "listRevisions",
  "listTasks",
  "getTask",
  "why",
  "planService",
  "watch",
  "logs",
];

export function linearControl(control: ClusterControl, options: LinearOptions): ClusterControl {
  const barrier = ({ signal }: CallContext): Promise<void> => newest(options, signal);
  const read =
    <K extends Unary>(name: K) =>
    async (request: Parameters<ClusterControl[K]>[0], context: CallContext): Promise<unknown> => {
      await barrier(context);
      return call(control, name)(request, context);
    };
  const write =
    <K extends Unary>(name: K) =>
    (request: Parameters<ClusterControl[K]>[0], context: CallContext): Promise<unknown> =>
      proven(options, context.signal, () => call(control, name)(request, context));
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

/** A service of unary calls that prove themselves by their commits: what they refuse is true as well. */
export function linearRefusals<
  H extends { readonly [name: string]: (request: never, context: CallContext) => Promise<unknown> },
>(handlers: H, options: LinearOptions): H {
  const entries = Object.entries(handlers).map(([name, handler]) => [
    name,
    (request: never, context: CallContext) => proven(options, context.signal, () => handler(request, context)),
  ]);
  return Object.fromEntries(entries) as H;
}

/** Calls; what is refused over a state that turns out to be old is called once more. */
async function proven<T>(options: LinearOptions, signal: AbortSignal, action: () => Promise<T>): Promise<T> {
  const { version } = options.store;
  try {
    return await action();
  } catch (error) {
    if (!isSwarmError(error, ...STATEFUL)) throw error;
    await newest(options, signal);
    if (options.store.version === version) throw error;
    return await action();
  }
}

/** Settles when all that was committed before is here. What fails is certain to have changed nothing. */
async function newest({ log }: LinearOptions, signal: AbortSignal): Promise<void> {
  try {
    await log.readBarrier(signal);
  } catch (error) {
    if (!isSwarmError(error, "Unavailable")) throw error;
    throw notTaken(errorText(error), error);
  }
}

function call(control: ClusterControl, name: Unary): (request: unknown, context: CallContext) => Promise<unknown> {
  return control[name] as (request: unknown, context: CallContext) => Promise<unknown>;
}
