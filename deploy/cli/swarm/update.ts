// `tsswarm swarm update`: the cluster's settings. What the managers refuse, they refuse; here only texts become figures.

import { SwarmError } from "../../../proto/base/errors.ts";
import { parseDuration } from "../../../proto/base/units.ts";
import { ClusterSpec } from "../../../proto/gen/specs.ts";
import { type Context, print } from "../context.ts";

export interface SwarmUpdateOptions {
  readonly certExpiry?: string;
  readonly dispatcherHeartbeat?: string;
  readonly taskHistoryLimit?: string;
}

/** The settings with those that the flags name changed. Throws InvalidArgument for a text that is no figure. */
export function changedCluster(spec: ClusterSpec, options: SwarmUpdateOptions): ClusterSpec {
  const { certExpiry, dispatcherHeartbeat, taskHistoryLimit } = options;
  return {
    ...spec,
    ...(certExpiry === undefined ? {} : { nodeCertExpiryMs: parseDuration(certExpiry) }),
    ...(dispatcherHeartbeat === undefined ? {} : { heartbeatPeriodMs: parseDuration(dispatcherHeartbeat) }),
    ...(taskHistoryLimit === undefined ? {} : { taskHistoryLimit: wholeNumber(taskHistoryLimit) }),
  };
}

export async function updateSwarm(context: Context, options: SwarmUpdateOptions): Promise<void> {
  const { signal } = context;
  const control = await context.control();
  const { meta, spec } = await control.getCluster({}, { signal });
  await control.updateCluster(
    {
      version: meta?.version ?? 0,
      spec: changedCluster(spec ?? ClusterSpec.create(), options),
      rotateWorkerToken: false,
      rotateManagerToken: false,
    },
    { signal },
  );
  print(context, "Swarm updated.");
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new SwarmError("InvalidArgument", `--task-history-limit: ${text} is no whole number; give one such as 5`);
}
