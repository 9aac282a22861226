// The agents' door on every manager: the leader's dispatcher where this one leads; otherwise a session is one message that says
// where the leader is, and the agent goes there. Agents speak for themselves: no call is passed on.

import { SwarmError } from "../proto/base/errors.ts";
import { type DispatcherService, SessionMessage } from "../proto/gen/dispatcher.ts";
import type { CallContext } from "../proto/rpc/caller.ts";
import { mustBeOwn } from "../proto/rpc/forwarded.ts";
import type { Handlers } from "../proto/rpc/methods.ts";
import type { Dispatcher } from "./dispatcher/dispatcher.ts";
import type { Leadership } from "./leadership.ts";

export interface DispatcherDoorOptions {
  readonly leadership: Leadership;
  /** host:port of every manager. */
  readonly managers: () => readonly string[];
}

export function dispatcherDoor({ leadership, managers }: DispatcherDoorOptions): Handlers<DispatcherService> {
  const leader = (context: CallContext): Dispatcher => {
    mustBeOwn(context);
    const { leading } = leadership;
    if (leading !== undefined) return leading.dispatcher;
    throw new SwarmError("NotLeader", "this manager does not lead (any more); open a session to hear who does");
  };
  return {
    async *session(request, context) {
      mustBeOwn(context);
      const found = await leadership.patience().find(context.signal);
      if (found.kind === "here") yield* found.leading.dispatcher.handlers.session(request, context);
      else yield SessionMessage.create({ managers: managers(), leaderAddr: found.member.addr });
    },
    heartbeat: (request, context) => Promise.try(() => leader(context).handlers.heartbeat(request, context)),
    updateTaskStatus: (request, context) =>
      Promise.try(() => leader(context).handlers.updateTaskStatus(request, context)),
    async *assignments(request, context: CallContext) {
      yield* leader(context).handlers.assignments(request, context);
    },
    async *stream(frames, context: CallContext) {
      yield* leader(context).handlers.stream(frames, context);
    },
  };
}
