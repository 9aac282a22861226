// The manager's door: what the daemon needs to run one and to reach its API. Everything else of the room is inside.

export type {
  GroupManager,
  GroupManagerOptions,
  GroupManagers,
  JoinGroup,
  ManagerMember,
  ManagerState,
  RestoreGroup,
} from "./api.ts";
export type { Bootstrap, Bootstrapped } from "./bootstrap.ts";
export type { ClusterControl } from "./control/cluster-control.ts";
export { Manager } from "./manager.ts";
