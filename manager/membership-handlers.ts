// How managers come and go (the RaftMembership service), answered by the leader: a node with a manager's certificate joins as a
// learner, one that leaves becomes a worker. When a learner counts, and the steps of a demotion, are the role manager's.

import { abortable } from "../proto/base/abort.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import type { RaftJoinRequest, RaftJoinResponse, RaftMembershipService } from "../proto/gen/raft.ts";
import { NodeRole } from "../proto/gen/specs.ts";
import type { WholeNode } from "../proto/model/objects.ts";
import type { CallContext, Caller } from "../proto/rpc/caller.ts";
import type { Handlers } from "../proto/rpc/methods.ts";
import { demotionProblem } from "./control/members.ts";
import type { GroupLog } from "./group-log.ts";
import { memberFacts } from "./member-facts.ts";
import type { Store } from "./store/store.ts";

/** Settles when a manager listens at host:port; rejects with a SwarmError that says what is wrong. */
export type Probe = (addr: string, signal: AbortSignal) => Promise<void>;

export interface MembershipOptions {
  readonly store: Store;
  readonly log: GroupLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly probe: Probe;
  /** Nodes whose membership is being changed here; the role manager leaves them alone. */
  readonly joining: Set<string>;
}

const ADDR = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z.-]{1,253}):[0-9]{1,5}$/;
const MEMBERS_MAX = 15;
/** Longest wait for a leaving manager to be out of the group. */
const LEAVE_MS = 20_000;
const LEAVE_LOOK_MS = 100;

export function membershipHandlers(options: MembershipOptions): Handlers<RaftMembershipService> {
  return {
    join: (request, context) => join(options, request, context),
    leave: (_request, context) => leave(options, context),
  };
}

async function join(
  options: MembershipOptions,
  request: RaftJoinRequest,
  { caller, signal }: CallContext,
): Promise<RaftJoinResponse> {
  const { joining, log, logger, probe, store } = options;
  const nodeId = managerOf(caller);
  checkAddr(request.addr);
  const node = nodeOf(store, nodeId);
  if (node.spec.role !== NodeRole.MANAGER || node.role !== NodeRole.MANAGER)
    throw new SwarmError(
      "FailedPrecondition",
      `node ${nodeId} is to be a worker; promote it with \`tsswarm node promote\``,
    );
  if (joining.has(nodeId))
    throw new SwarmError("Unavailable", `node ${nodeId} is joining already; wait for that or try again`);
  joining.add(nodeId);
  try {
    const before = log.members().find((member) => member.nodeId === nodeId);
    if (before !== undefined && before.raftId === request.raftId) {
      const { raftId } = before;
      if (before.addr !== request.addr) await log.updateAddress({ raftId, nodeId, addr: request.addr }, signal);
      return responseOf(options, raftId);
    }
    if (request.raftId !== 0)
      throw new SwarmError("PermissionDenied", `this member of node ${nodeId} was removed from the group of managers`);
    if (before === undefined && log.members().length >= MEMBERS_MAX)
      throw new SwarmError("FailedPrecondition", `the cluster has ${MEMBERS_MAX} managers, and no more are taken`);
    try {
      await probe(request.addr, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw new SwarmError(
        "FailedPrecondition",
        `the leader cannot reach this node at ${request.addr}: ${errorText(error)}`,
        { cause: error },
      );
    }
    if (before !== undefined) {
      // Without a status it is one that has yet to join, also for a leader that goes on after this one.
      await store.update((tx) => tx.nodes.update({ ...nodeOf({ view: () => tx }, nodeId), managerStatus: undefined }));
      await log.removeMember(before.raftId, signal);
    }
    const member = await log.addLearner({ nodeId, addr: request.addr }, signal);
    logger.info("a manager joins", { node: nodeId, addr: request.addr, raftId: member.raftId });
    return responseOf(options, member.raftId);
  } finally {
    joining.delete(nodeId);
  }
}

/** Settles when the caller is no member any more. */
async function leave(options: MembershipOptions, { caller, signal }: CallContext): Promise<Record<string, never>> {
  const { clock, log, logger, store } = options;
  const nodeId = managerOf(caller);
  await store.update((tx) => {
    const node = nodeOf({ view: () => tx }, nodeId);
    if (node.spec.role === NodeRole.WORKER) return;
    const problem = demotionProblem(node, { nodes: tx.nodes.all(), members: memberFacts(log.members()) });
    if (problem !== undefined) throw new SwarmError("FailedPrecondition", problem);
    tx.nodes.update({ ...node, spec: { ...node.spec, role: NodeRole.WORKER } });
  });
  logger.info("a manager leaves", { node: nodeId });
  const untilMs = clock.monotonicMs() + LEAVE_MS;
  while (log.members().some((member) => member.nodeId === nodeId)) {
    if (log.status().role !== "leader") throw new SwarmError("NotLeader", "this manager does not lead any more");
    if (clock.monotonicMs() >= untilMs)
      throw new SwarmError("Unavailable", `node ${nodeId} is still a member of the group of managers; try again`);
    await abortable(clock.sleep(LEAVE_LOOK_MS, signal), signal);
  }
  return {};
}

function managerOf(caller: Caller): string {
  if (caller.kind === "node" && caller.role === "manager") return caller.nodeId;
  throw new SwarmError(
    "PermissionDenied",
    "only a node with a manager's certificate joins or leaves the group of managers",
  );
}

function nodeOf(
  store: { view(): { readonly nodes: { get(id: string): WholeNode | undefined } } },
  nodeId: string,
): WholeNode {
  const node = store.view().nodes.get(nodeId);
  if (node === undefined)
    throw new SwarmError("PermissionDenied", `node ${nodeId} is not, or is no longer, a member of this cluster`);
  return node;
}

function checkAddr(addr: string): void {
  if (!ADDR.test(addr))
    throw new SwarmError(
      "InvalidArgument",
      `${JSON.stringify(addr.slice(0, 80))} is no address (host:port) where managers can reach each other`,
    );
}

function responseOf({ log, store }: MembershipOptions, raftId: number): RaftJoinResponse {
  const members = log.members().map(({ addr, nodeId, raftId: id }) => ({ raftId: id, nodeId, addr }));
  return { raftId, clusterId: store.view().clusters.all()[0]?.id ?? "", members };
}
