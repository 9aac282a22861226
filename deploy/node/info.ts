// What `tsswarm info` is told: this machine, its place in the cluster, and on managers the group as this one sees it.

import { openCgroups } from "../../native/index.ts";
import { withDeadline } from "../../proto/base/abort.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { errorText } from "../../proto/base/errors.ts";
import { InfoResponse, InfoResponse_LocalNodeState, type ManagerInfo } from "../../proto/gen/local.ts";
import { VERSION } from "../version.ts";
import { splitHostPort } from "./addresses.ts";
import type { Machine } from "./machine.ts";
import type { Membership } from "./membership.ts";

/** A cluster without a leader says so after a few seconds; whoever asks for the node's state waits no longer. */
const NODES_MS = 5_000;

export async function nodeInfo(node: {
  readonly machine: Machine;
  readonly clock: Clock;
  readonly stateDir: string;
  readonly membership: Membership | undefined;
}): Promise<InfoResponse> {
  const { clock, machine, membership, stateDir } = node;
  const common = {
    description: await machine.describe(),
    containersRunning: membership?.agent.counts().running ?? 0,
    images: (await machine.images.list()).length,
    stateDir,
    cgroupVersion: openCgroups().version,
    version: VERSION,
  };
  if (membership === undefined) return InfoResponse.create({ ...common, state: InfoResponse_LocalNodeState.INACTIVE });
  const { addresses, agent, identity, manager, problem } = membership;
  const { connection, managers } = agent;
  const isManager = manager !== undefined;
  const count = await countNodes(membership, clock);
  const members = manager?.status().members ?? [];
  const managerList: readonly ManagerInfo[] = members.map(
    ({ addr, isLeader, isLearner, isReachable, isSelf, nodeId }) => ({
      nodeId,
      addr,
      leader: isLeader,
      reachable: isReachable || isSelf,
      learner: isLearner,
    }),
  );
  const errors = [
    problem,
    connection.kind === "connecting" ? connection.error : "",
    typeof count === "string" ? count : "",
  ];
  return {
    ...InfoResponse.create(common),
    state:
      connection.kind === "connected" || isManager
        ? InfoResponse_LocalNodeState.ACTIVE
        : InfoResponse_LocalNodeState.PENDING,
    nodeId: identity.facts.nodeId,
    clusterId: identity.facts.clusterId,
    nodeAddr: splitHostPort(addresses.advertiseAddr, { flag: "--advertise-addr" }).host,
    advertiseAddr: addresses.advertiseAddr,
    isManager,
    managers,
    managerCount: members.filter((member) => !member.isLearner).length,
    nodeCount: typeof count === "string" ? 0 : count,
    managerList,
    error: [...new Set(errors)].filter((text) => text !== "").join("; "),
  };
}

/** Nodes of the cluster, 0 on workers; a sentence where the cluster does not answer. */
async function countNodes(membership: Membership, clock: Clock): Promise<number | string> {
  const { manager } = membership;
  if (manager === undefined) return 0;
  try {
    const options = { clock, ms: NODES_MS, what: "asking the leader for the nodes" };
    const caller = { kind: "local" } as const;
    const { nodes } = await withDeadline(options, (signal) =>
      manager.control.listNodes({ filters: [] }, { caller, signal }),
    );
    return nodes.length;
  } catch (error) {
    return errorText(error);
  }
}
