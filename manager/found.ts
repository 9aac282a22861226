// The first state of a group of one: made in memory by ordinary transactions, then written down as the first snapshot of a new log, so
// that there is a whole cluster or none. `swarm init` and `system restore` begin so.

import type { Clock } from "../proto/base/clock.ts";
import type { Random } from "../proto/base/random.ts";
import type { StoreChanges } from "../proto/gen/control.ts";
import { newRaftId } from "./replication/raft-id.ts";
import { type Membership, NO_MEMBERSHIP } from "./replication/membership.ts";
import { RaftStorage, type RaftStorageOptions } from "./replication/raft-storage.ts";
import type { ProposalResult, Proposer } from "./store/proposer.ts";
import { Store } from "./store/store.ts";

/** Of the log of a new group. */
const FIRST_TERM = 1;

/** A log for transactions that nobody else sees yet. */
class Draft implements Proposer {
  #index: number;

  constructor(after: number) {
    this.#index = after;
  }

  propose(_changes: StoreChanges, onCommit: (index: number) => void): Promise<ProposalResult> {
    this.#index += 1;
    onCommit(this.#index);
    return Promise.resolve({ kind: "committed", index: this.#index });
  }
}

/** A store for the first state, empty or as it was saved. */
export function draftStore(
  clock: Clock,
  saved: { readonly bytes: Uint8Array; readonly index: number } | undefined,
): Store {
  const store = new Store({ now: () => clock.now() });
  if (saved !== undefined) store.restore(saved.bytes, saved.index);
  store.attach(new Draft(store.version));
  return store;
}

/** Makes the draft the state of a new log with one member. Throws as RaftStorage.create does. */
export async function foundGroup(
  options: RaftStorageOptions & { readonly random: Random },
  founded: {
    readonly draft: Store;
    readonly self: { readonly nodeId: string; readonly addr: string };
    readonly clusterId: string;
  },
  signal: AbortSignal,
): Promise<RaftStorage> {
  const { clusterId, draft, self } = founded;
  const raftId = newRaftId(options.random, NO_MEMBERSHIP);
  const membership: Membership = {
    ...NO_MEMBERSHIP,
    conf: { ...NO_MEMBERSHIP.conf, voters: [raftId] },
    members: [{ raftId, ...self }],
  };
  const index = draft.version;
  return RaftStorage.create(
    options,
    {
      meta: { raftId, nodeId: self.nodeId, clusterId },
      hard: { term: FIRST_TERM, vote: 0, commit: index },
      entries: [],
      snapshot: { meta: { index, term: FIRST_TERM, membership }, pieces: draft.save() },
    },
    signal,
  );
}
