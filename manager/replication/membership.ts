// Who is in the group of managers, as of one index of the log: Raft's own membership, and where each member is. It travels in the
// context of membership entries and in snapshots, and never as a newer one than the index it stands beside.

import { type ConfState, EMPTY_CONF_STATE, type RaftId } from "raft-ts";
import { type RaftMember, RaftMembershipState } from "../../proto/gen/raft.ts";

export interface Member {
  readonly raftId: RaftId;
  readonly nodeId: string;
  /** host:port */
  readonly addr: string;
}

export interface Membership {
  readonly conf: ConfState;
  /** Those of `conf`, by id. */
  readonly members: readonly Member[];
  /** Ids of members that were removed, oldest first; the newest 1,000. */
  readonly removed: readonly RaftId[];
}

export const NO_MEMBERSHIP: Membership = { conf: EMPTY_CONF_STATE, members: [], removed: [] };

const REMOVED_MAX = 1_000;

/** The membership after a change was applied: `conf` as the core answered, `change` what the entry's context said (if anything). */
export function nextMembership(
  before: Membership,
  change: { readonly conf: ConfState; readonly member: Member | undefined },
): Membership {
  const { conf, member } = change;
  const ids = new Set([...conf.voters, ...conf.learners, ...conf.votersOutgoing, ...conf.learnersNext]);
  const known = new Map(
    [...before.members, ...(member === undefined ? [] : [member])].map((each) => [each.raftId, each]),
  );
  const members = [...ids].sort((a, b) => a - b).map((raftId) => known.get(raftId) ?? { raftId, nodeId: "", addr: "" });
  const gone = before.members.map((each) => each.raftId).filter((id) => !ids.has(id) && !before.removed.includes(id));
  return { conf, members, removed: [...before.removed, ...gone].slice(-REMOVED_MAX) };
}

export function membershipToWire({ conf, members, removed }: Membership): RaftMembershipState {
  return { ...conf, members, removed };
}

export function membershipFromWire(wire: RaftMembershipState): Membership {
  const { members, removed, ...conf } = wire;
  return { conf, members: members.map(memberFromWire), removed };
}

function memberFromWire({ raftId, nodeId, addr }: RaftMember): Member {
  return { raftId, nodeId, addr };
}
