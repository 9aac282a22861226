// Nodes: lists, labels, availability, roles, removal. A role that is asked for becomes true step by step (role-manager.ts).

import { SwarmError } from "../../proto/base/errors.ts";
import type {
  ListNodesResponse,
  ListRequest,
  RemoveNodeRequest,
  RemoveResponse,
  UpdateNodeRequest,
} from "../../proto/gen/control.ts";
import { type Node, NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeRole } from "../../proto/gen/specs.ts";
import type { WholeNode } from "../../proto/model/objects.ts";
import type { Store } from "../store/store.ts";
import type { ReadTx } from "../store/tx.ts";
import { type MemberFacts, demotionProblem, withManagerStatus } from "./members.ts";
import { type FilterTable, compileFilters, hasLabel, oneOf } from "./filters.ts";
import { resolve } from "./resolve.ts";
import { compareText } from "./text.ts";
import { validateNodeSpec } from "./validate-node.ts";
import { refused } from "./validate.ts";
import { checkVersion } from "./versions.ts";

export interface NodeDeps {
  readonly store: Store;
  /** The group of managers at this moment. */
  readonly members: () => readonly MemberFacts[];
}

export function listNodes({ store, members }: NodeDeps, { filters }: ListRequest): ListNodesResponse {
  const nodes = [...store.view().nodes.all()].filter(compileFilters(filters, FILTERS));
  nodes.sort((a, b) => compareText(nodeName(a), nodeName(b)) || compareText(a.id, b.id));
  const group = members();
  return { nodes: nodes.map((node) => withManagerStatus(node, group)) };
}

export function getNode({ store, members }: NodeDeps, ref: string): Node {
  return withManagerStatus(findNode(store.view(), ref), members());
}

/** A node by its id, the beginning of one, its host name or the name it was given. */
export function findNode(view: ReadTx, ref: string): WholeNode {
  return resolve(ref, {
    noun: "node",
    byId: (id) => view.nodes.get(id),
    all: () => view.nodes.all(),
    byName: (name) => view.nodes.all().filter((node) => node.description.hostname === name || node.spec.name === name),
  });
}

/** What messages call it. */
export function nodeName(node: WholeNode): string {
  return node.description.hostname || node.spec.name || node.id;
}

/** Throws OutOfSequence for a stale version, FailedPrecondition for a demotion that would cost the cluster its managers. */
export async function updateNode(deps: NodeDeps, request: UpdateNodeRequest): Promise<Node> {
  const { store, members } = deps;
  const { spec } = request;
  if (spec === undefined) throw refused("spec", "an update of a node brings its whole spec");
  validateNodeSpec(spec);
  const { id } = findNode(store.view(), request.id);
  await store.update((tx) => {
    const node = findNode(tx, id);
    checkVersion({ found: node.meta.version, asked: request.version });
    if (spec.role !== node.spec.role && spec.role === NodeRole.WORKER) {
      const problem = demotionProblem(node, { nodes: tx.nodes.all(), members: members() });
      if (problem !== undefined) throw new SwarmError("FailedPrecondition", problem);
    }
    tx.nodes.update({ ...node, spec });
  });
  return getNode(deps, id);
}

/** Refused for a member of the group of managers, and without `force` for a node that is not down. */
export async function removeNode({ store, members }: NodeDeps, request: RemoveNodeRequest): Promise<RemoveResponse> {
  const { id } = findNode(store.view(), request.ref);
  await store.update((tx) => {
    const node = findNode(tx, id);
    if (members().some((member) => member.nodeId === id))
      throw new SwarmError(
        "FailedPrecondition",
        `node ${request.ref} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
      );
    if (node.status.state !== NodeStatus_State.DOWN && !request.force)
      throw new SwarmError("FailedPrecondition", `node ${request.ref} is not down and can't be removed`);
    tx.nodes.remove(id);
  });
  return { id };
}

const FILTERS: FilterTable<WholeNode> = {
  id: (value) => (node) => node.id.startsWith(value),
  label: (value) => (node) => hasLabel(node.description.engineLabels, value),
  membership: oneOf("membership", ["accepted", "pending"], () => "accepted"),
  name: (value) => (node) => node.description.hostname.startsWith(value) || node.spec.name.startsWith(value),
  "node.label": (value) => (node) => hasLabel(node.spec.labels, value),
  role: oneOf("role", ["manager", "worker"], (node) => (node.spec.role === NodeRole.MANAGER ? "manager" : "worker")),
};
