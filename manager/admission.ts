// Who may speak at the leader, beyond what a certificate says: a certificate tells what a node was when it was made, the store what it
// is. A node that is no manager any more neither commands the cluster nor speaks for others.

import { SwarmError } from "../proto/base/errors.ts";
import { NodeRole } from "../proto/gen/specs.ts";
import type { CallContext } from "../proto/rpc/caller.ts";
import type { ReadTx } from "./store/tx.ts";

/** Throws PermissionDenied for a call passed on by a node that is no manager, unless it is that node's own. */
export function checkForwarder(view: ReadTx, { caller, forwardedBy }: CallContext): void {
  if (forwardedBy === undefined || (caller.kind === "node" && caller.nodeId === forwardedBy)) return;
  checkManager(view, forwardedBy);
}

/** Throws PermissionDenied also for a call of a node that has a manager's certificate and is none (any more). */
export function checkOperator(view: ReadTx, context: CallContext): void {
  checkForwarder(view, context);
  const { caller } = context;
  if (caller.kind === "node") checkManager(view, caller.nodeId);
}

function checkManager(view: ReadTx, nodeId: string): void {
  if (view.nodes.get(nodeId)?.role === NodeRole.MANAGER) return;
  throw new SwarmError("PermissionDenied", `node ${nodeId} is not, or is no longer, a manager of this cluster`);
}
