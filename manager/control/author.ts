// Who made a call, in words for the history of what was done.

import { never } from "../../proto/base/assert.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import type { ReadTx } from "../store/tx.ts";
import type { MemberFacts } from "./members.ts";
import { nodeName } from "./nodes.ts";

/** "root on m1" for the local socket of a manager, "node w1 (its id)" for who called with a node's certificate. */
export function authorOf(
  view: ReadTx,
  context: Pick<CallContext, "caller" | "forwardedBy">,
  members: readonly MemberFacts[],
): string {
  const { caller, forwardedBy } = context;
  const named = (id: string | undefined): string | undefined => {
    const node = id === undefined ? undefined : view.nodes.get(id);
    return node === undefined ? id : nodeName(node);
  };
  switch (caller.kind) {
    case "local": {
      // Whoever answers leads: a call that nobody passed on came in at the leader's own socket.
      const host = named(forwardedBy ?? members.find(({ isLeader }) => isLeader)?.nodeId);
      return host === undefined ? "root" : `root on ${host}`;
    }
    case "node":
      return `node ${named(caller.nodeId) ?? ""} (${caller.nodeId})`;
    case "anonymous":
      return `somebody at ${caller.addr}`;
    default:
      return never(caller);
  }
}
