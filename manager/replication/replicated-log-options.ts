// What the replicated log is handed, and what it shows of itself.

import type { Term, TraceEvent } from "raft-ts";
import type { Clock } from "../../proto/base/clock.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { ReplayTarget } from "../store/proposer.ts";
import type { Member } from "./membership.ts";
import type { LogStorage } from "./replicated-log-storage.ts";
import type { Transport, TransportReceiver } from "./transport.ts";

export interface ReplicatedLogOptions {
  /** Open; the log closes it. */
  readonly storage: LogStorage;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Filled while the log is opened, and with what others propose. */
  readonly target: ReplayTarget;
  /** The whole state as ReplayTarget.restore takes it. The call itself must fix what state it is; the pieces may be made later. */
  readonly snapshot: () => Iterable<Uint8Array>;
  /** Entries between snapshots. 10,000 in production. */
  readonly snapshotEvery: number;
  /** Called once, with where its messages go. Who makes it ends it. */
  readonly transport: (receiver: TransportReceiver) => Transport;
  /** Managers to speak to although the log does not name them yet: those a new member was told of when it joined. */
  readonly seeds?: readonly Member[];
  /** Largest delay of the event loop since the last call. In ms; absent: as late as the ticks come. */
  readonly loopDelayMs?: () => number;
  /** The core's decisions, for those who look on. */
  readonly trace?: (event: TraceEvent) => void;
}

export interface LeadershipState {
  /** leader: an entry of its own term is applied, so that it knows all that was committed before. Until then: candidate. */
  readonly role: "leader" | "follower" | "candidate";
  readonly term: Term;
  /** As far as it is known. */
  readonly leader: Member | undefined;
}
