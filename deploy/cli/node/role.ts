// `tsswarm node promote` and `tsswarm node demote`. They ask for a role; the managers and the node itself make it true.

import { NodeRole } from "../../../proto/gen/specs.ts";
import { wholeNode } from "../../../proto/model/objects.ts";
import { type Context, print } from "../context.ts";
import { forEachRef } from "../refs.ts";
import { nodeRef } from "./node.ts";

const WORDS = {
  manager: {
    role: NodeRole.MANAGER,
    already: (ref: string) => `Node ${ref} is already a manager.`,
    done: (ref: string) => `Node ${ref} promoted to a manager in the swarm.`,
  },
  worker: {
    role: NodeRole.WORKER,
    already: (ref: string) => `Node ${ref} is already a worker.`,
    done: (ref: string) => `Manager ${ref} demoted in the swarm.`,
  },
} as const;

/** Each node in turn; what is refused is said, and the others are asked for. */
export async function changeRoles(
  context: Context,
  refs: readonly string[],
  wanted: "manager" | "worker",
): Promise<void> {
  const { signal } = context;
  const { already, done, role } = WORDS[wanted];
  const control = await context.control();
  await forEachRef(context, refs, async (ref) => {
    const node = wholeNode(await control.getNode({ ref: await nodeRef(context, ref) }, { signal }));
    if (node.spec.role === role) {
      print(context, already(ref));
      return;
    }
    await control.updateNode({ id: node.id, version: node.meta.version, spec: { ...node.spec, role } }, { signal });
    print(context, done(ref));
  });
}
