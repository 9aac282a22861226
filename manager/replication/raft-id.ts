// Draws the id of a new member. It is never one that was used before: what a removed member still says must not be taken for
// another one's word.

import { RAFT_ID_MAX, type RaftId } from "raft-ts";
import type { Random } from "../../proto/base/random.ts";
import type { Membership } from "./membership.ts";

const HALF_BITS = 26;

export function newRaftId(random: Random, membership: Membership): RaftId {
  const used = new Set([...membership.members.map((member) => member.raftId), ...membership.removed]);
  for (;;) {
    // Two draws, because one holds fewer bits than an id.
    const id = random.int(0, 2 ** (HALF_BITS + 1)) * 2 ** HALF_BITS + random.int(0, 2 ** HALF_BITS);
    if (id >= 1 && id <= RAFT_ID_MAX && !used.has(id)) return id;
  }
}
