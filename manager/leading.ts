// All that a manager does while it leads: the passes, the agents' door, roles, and the answers of the services that only the leader
// gives. Made anew for each leadership, so that nothing of an earlier one is left.

import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";
import type { NodeCaService } from "../proto/gen/ca.ts";
import type { RaftMembershipService } from "../proto/gen/raft.ts";
import type { Handlers } from "../proto/rpc/methods.ts";
import { nodeCaHandlers } from "./ca/serve.ts";
import { rotateTokens } from "./ca/tokens.ts";
import type { ClusterControl } from "./control/cluster-control.ts";
import { createControl } from "./control/create-control.ts";
import { Dispatcher } from "./dispatcher/dispatcher.ts";
import { StreamBroker } from "./dispatcher/stream-broker.ts";
import type { GroupLog } from "./group-log.ts";
import { Leader } from "./leader.ts";
import { linearControl, linearRefusals } from "./linear.ts";
import { memberFacts } from "./member-facts.ts";
import { type Probe, membershipHandlers } from "./membership-handlers.ts";
import { rehearse } from "./rehearsal.ts";
import { RoleManager } from "./role-manager.ts";
import type { Store } from "./store/store.ts";

export interface LeadingOptions {
  /** Of this leadership. */
  readonly term: number;
  readonly store: Store;
  readonly log: GroupLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** A pass that throws ends the manager. */
  readonly strict: boolean;
  readonly probe: Probe;
}

export class Leading {
  readonly control: ClusterControl;
  readonly dispatcher: Dispatcher;
  readonly nodeCa: Handlers<NodeCaService>;
  readonly membership: Handlers<RaftMembershipService>;
  readonly #options: LeadingOptions;
  readonly #over: AbortController = new AbortController();
  /** Nodes whose membership a join is changing. */
  readonly #joining = new Set<string>();

  constructor(options: LeadingOptions) {
    const { clock, log, logger, probe, random, store } = options;
    const streams = new StreamBroker({ clock, random });
    this.#options = options;
    this.nodeCa = linearRefusals(nodeCaHandlers({ store, clock, random, logger: logger.child("ca") }), { log, store });
    this.dispatcher = new Dispatcher({ store, clock, random, streams, logger: logger.child("dispatcher") });
    const control = createControl({
      store,
      clock,
      random,
      streams,
      playOut: (service, signal) =>
        rehearse({ view: store.view(), clock, random, logger: logger.child("rehearsal") }, service, signal),
      members: () => memberFacts(log.members()),
      rotateTokens: (rootCa, roles) => rotateTokens(rootCa, roles, random),
    });
    this.control = linearControl(control, { log, store });
    const members = { store, log, clock, probe, joining: this.#joining, logger: logger.child("members") };
    this.membership = linearRefusals(membershipHandlers(members), { log, store });
  }

  get term(): number {
    return this.#options.term;
  }

  /** Aborts when this manager no longer leads, or stops. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Ends `run` and the streams that were answered here. */
  end(reason: SwarmError): void {
    this.#over.abort(reason);
  }

  /** Settles after `end`. Rejects for a failed assertion, and in strict mode for a failed pass. */
  async run(): Promise<void> {
    const { clock, log, logger, random, store, strict } = this.#options;
    const group = new Group(this.signal);
    const leader = new Leader({ store, clock, random, strict, logger: logger.child("leader") });
    const joining = this.#joining;
    const roles = new RoleManager({ store, log, clock, random, joining, logger: logger.child("roles") });
    group.spawn((stop) => leader.run(stop));
    group.spawn((stop) => this.dispatcher.run(stop));
    group.spawn((stop) => roles.run(stop));
    try {
      await group.join();
    } finally {
      this.end(new SwarmError("Unavailable", "the manager is stopping"));
    }
  }
}
