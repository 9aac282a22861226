// `tsswarm swarm join-token`: the line to type on another machine.

import { SwarmError } from "../../../proto/base/errors.ts";
import { type Context, print } from "../context.ts";

type Role = "worker" | "manager";

/** The instructions that init and join-token print. */
export function joinTokenText(role: Role, join: { readonly token: string; readonly addr: string }): string {
  return `To add a ${role} to this swarm, run the following command:\n\n    tsswarm swarm join --token ${join.token} ${join.addr}\n\n`;
}

export async function showJoinToken(
  context: Context,
  options: { readonly role: string; readonly quiet?: boolean; readonly rotate?: boolean },
): Promise<void> {
  const { role } = options;
  if (role !== "worker" && role !== "manager")
    throw new SwarmError("InvalidArgument", `unknown role ${role}: it must be worker or manager`);
  const { signal } = context;
  const control = await context.control();
  let cluster = await control.getCluster({}, { signal });
  if (options.rotate === true) {
    cluster = await control.updateCluster(
      {
        version: cluster.meta?.version ?? 0,
        spec: undefined,
        rotateWorkerToken: role === "worker",
        rotateManagerToken: role === "manager",
      },
      { signal },
    );
    if (options.quiet !== true) print(context, `Successfully rotated ${role} join token.\n`);
  }
  const token = (role === "worker" ? cluster.rootCa?.joinTokenWorker : cluster.rootCa?.joinTokenManager) ?? "";
  if (options.quiet === true) {
    print(context, token);
    return;
  }
  const info = await (await context.local()).info({}, { signal });
  print(context, joinTokenText(role, { token, addr: info.advertiseAddr }));
}
