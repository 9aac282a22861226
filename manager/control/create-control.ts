// Joins the nouns into the one interface. Reads answer from the last committed state; writes settle when they are durable.

import type { CallContext } from "../../proto/rpc/caller.ts";
import type { ClusterControl } from "./cluster-control.ts";
import { type ClusterDeps, getCluster, updateCluster } from "./cluster.ts";
import { type TaskStreams, exec } from "./exec.ts";
import { logs } from "./logs.ts";
import { type NodeDeps, getNode, listNodes, removeNode, updateNode } from "./nodes.ts";
import {
  type ServiceDeps,
  createService,
  findService,
  listRevisions,
  listServices,
  removeService,
} from "./services.ts";
import { type PlanDeps, planService } from "./plan.ts";
import { steerUpdate } from "./steer-update.ts";
import { getTask, listTasks } from "./tasks.ts";
import { updateService } from "./update-service.ts";
import { watch } from "./watch.ts";
import { type WhyDeps, why } from "./why.ts";

export interface ControlDeps extends ClusterDeps, NodeDeps, ServiceDeps, WhyDeps, PlanDeps {
  readonly streams: TaskStreams;
}

/** A read as a call: what it throws is a rejection. */
function answering<Request, Response>(
  read: (request: Request, context: CallContext) => Response,
): (request: Request, context: CallContext) => Promise<Response> {
  return (request, context) => Promise.try(() => read(request, context));
}

export function createControl(deps: ControlDeps): ClusterControl {
  const { store } = deps;
  return {
    getCluster: answering((_request, context) => getCluster(deps, context)),
    updateCluster: (request, context) => updateCluster(deps, request, context),

    listNodes: answering((request) => listNodes(deps, request)),
    getNode: answering(({ ref }) => getNode(deps, ref)),
    updateNode: (request) => updateNode(deps, request),
    removeNode: (request) => removeNode(deps, request),

    createService: (request, context) => createService(deps, request, context),
    listServices: answering((request) => listServices(store.view(), request)),
    getService: answering(({ ref }) => findService(store.view(), ref)),
    updateService: (request, context) => updateService(deps, request, context),
    removeService: (request) => removeService(deps, request),
    steerUpdate: (request) => steerUpdate(deps, request),
    listRevisions: answering((request) => listRevisions(store.view(), request)),

    listTasks: answering((request) => listTasks(store.view(), request)),
    getTask: answering((request) => getTask(store.view(), request)),
    why: (request, context) => why(deps, request, context),
    planService: (request, context) => planService(deps, request, context),

    watch: (request, context) => watch(store, request, context),
    logs: (request, context) => logs(deps, request, context),
    exec: (requests, context) => exec(deps, requests, context),
  };
}
