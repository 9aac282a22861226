// How a node with a manager's certificate asks to become a member of the group: the known managers in turn, for a bounded time. Any
// of them passes the request to the leader. Asking again is safe: an earlier member of the same node gives way.

import { Backoff } from "../proto/base/backoff.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, errorText, isSwarmError } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";
import { type RaftJoinResponse, RaftMembershipService } from "../proto/gen/raft.ts";
import type { ManagerLink } from "./peers.ts";

export interface AskToJoin {
  readonly connect: (addr: string) => ManagerLink;
  /** host:port of managers. */
  readonly managers: readonly string[];
  /** host:port of this one. */
  readonly addr: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const GIVE_UP_MS = 60_000;
const CONNECT_MS = 2_000;
const ANSWER_MS = 15_000;
const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 3_000;

/** Throws Unavailable when no manager took it in time; what refuses the node for good comes out at once. */
export async function askToJoin(options: AskToJoin, signal: AbortSignal): Promise<RaftJoinResponse> {
  const { clock, logger, managers, random } = options;
  if (managers.length === 0) throw new SwarmError("InvalidArgument", "no manager is known to join");
  const untilMs = clock.monotonicMs() + GIVE_UP_MS;
  const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
  for (;;) {
    let failure: unknown;
    for (const manager of managers) {
      try {
        return await ask(options, manager, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isSwarmError(error, "PermissionDenied", "InvalidArgument", "FailedPrecondition", "Unauthenticated"))
          throw error;
        logger.warn("a manager did not take this one as a member", { manager, error: errorText(error) });
        failure = error;
      }
    }
    const waitMs = backoff.nextMs();
    if (clock.monotonicMs() + waitMs >= untilMs)
      throw new SwarmError(
        "Unavailable",
        `none of the managers ${managers.join(", ")} took this node into the group within ${GIVE_UP_MS / 1_000} s: ${errorText(failure)}`,
        { cause: failure },
      );
    await clock.sleep(waitMs, signal);
  }
}

async function ask(options: AskToJoin, manager: string, signal: AbortSignal): Promise<RaftJoinResponse> {
  const link = options.connect(manager);
  try {
    await link.ready({ timeoutMs: CONNECT_MS, signal });
    const client = link.client(RaftMembershipService);
    return await client.join({ addr: options.addr, raftId: 0 }, { signal, timeoutMs: ANSWER_MS });
  } finally {
    link.close();
  }
}
