// `tsswarm node update`.

import { SwarmError } from "../../../proto/base/errors.ts";
import { NodeRole } from "../../../proto/gen/specs.ts";
import { wholeNode } from "../../../proto/model/objects.ts";
import { type Context, print } from "../context.ts";
import { labelsOf } from "../options.ts";
import { availabilityOf } from "../swarm/swarm.ts";
import { nodeRef } from "./node.ts";

export async function updateNode(
  context: Context,
  ref: string,
  options: {
    readonly availability?: string;
    readonly labelAdd?: readonly string[];
    readonly labelRm?: readonly string[];
    readonly role?: string;
  },
): Promise<void> {
  const { signal } = context;
  const control = await context.control();
  const node = wholeNode(await control.getNode({ ref: await nodeRef(context, ref) }, { signal }));
  const labels = { ...node.spec.labels };
  for (const key of options.labelRm ?? []) {
    if (!(key in labels)) throw new SwarmError("NotFound", `key ${key} doesn't exist in node's labels`);
    Reflect.deleteProperty(labels, key);
  }
  Object.assign(labels, labelsOf(options.labelAdd));
  const spec = {
    ...node.spec,
    labels,
    availability: options.availability === undefined ? node.spec.availability : availabilityOf(options.availability),
    role: options.role === undefined ? node.spec.role : roleOf(options.role),
  };
  await control.updateNode({ id: node.id, version: node.meta.version, spec }, { signal });
  print(context, ref);
}

function roleOf(text: string): NodeRole {
  if (text === "worker") return NodeRole.WORKER;
  if (text === "manager") return NodeRole.MANAGER;
  throw new SwarmError("InvalidArgument", `invalid role "${text}", only worker and manager are supported`);
}
