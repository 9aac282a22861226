// Who may call what: one row per method of every service a manager offers. A method that is missing here does not compile,
// is not served, and fails a test. It knows kinds of callers only; what a node may do with its own objects is the handler's.

import type { NodeCaService } from "../proto/gen/ca.ts";
import type { ControlService } from "../proto/gen/control.ts";
import type { DispatcherService } from "../proto/gen/dispatcher.ts";
import type { RaftMembershipService, RaftService } from "../proto/gen/raft.ts";
import type { CallerKind } from "../proto/rpc/caller.ts";
import type { Access } from "../proto/rpc/serve.ts";

const OPERATORS: readonly CallerKind[] = ["local", "manager"];
const NODES: readonly CallerKind[] = ["worker", "manager"];
const MANAGERS: readonly CallerKind[] = ["manager"];
const ANYONE: readonly CallerKind[] = ["anonymous", "worker", "manager"];

interface AccessTable {
  readonly control: Access<ControlService>;
  readonly dispatcher: Access<DispatcherService>;
  readonly nodeCa: Access<NodeCaService>;
  readonly raftMembership: Access<RaftMembershipService>;
  readonly raft: Access<RaftService>;
}

export const ACCESS: AccessTable = {
  control: {
    getCluster: OPERATORS,
    updateCluster: OPERATORS,
    listNodes: OPERATORS,
    getNode: OPERATORS,
    updateNode: OPERATORS,
    removeNode: OPERATORS,
    createService: OPERATORS,
    listServices: OPERATORS,
    getService: OPERATORS,
    updateService: OPERATORS,
    removeService: OPERATORS,
    steerUpdate: OPERATORS,
    listRevisions: OPERATORS,
    listTasks: OPERATORS,
    getTask: OPERATORS,
    why: OPERATORS,
    planService: OPERATORS,
    watch: OPERATORS,
    logs: OPERATORS,
    exec: OPERATORS,
  },
  dispatcher: {
    session: NODES,
    heartbeat: NODES,
    updateTaskStatus: NODES,
    assignments: NODES,
    stream: NODES,
  },
  nodeCa: {
    getRootCaCertificate: ANYONE,
    issueNodeCertificate: ANYONE,
  },
  raftMembership: {
    join: MANAGERS,
    leave: MANAGERS,
  },
  raft: {
    messages: MANAGERS,
    snapshot: MANAGERS,
  },
};
