// A change of a service as a person means it: made from what the service is now, and made again when somebody else, or the cluster
// itself, wrote in between.

import { isSwarmError } from "../../../proto/base/errors.ts";
import { type UpdateServiceResponse, UpdateServiceRequest } from "../../../proto/gen/control.ts";
import { type WholeService, wholeService } from "../../../proto/model/objects.ts";
import type { Context } from "../context.ts";

type Change = (service: WholeService) => Partial<Pick<UpdateServiceRequest, "spec" | "rollbackTo" | "canary">>;

const ATTEMPTS_MAX = 5;

/** Throws OutOfSequence when others write faster. */
export async function changeService(context: Context, ref: string, change: Change): Promise<UpdateServiceResponse> {
  const { signal } = context;
  const control = await context.control();
  for (let attempt = 1; ; attempt += 1) {
    const service = wholeService(await control.getService({ ref }, { signal }));
    const { id, meta } = service;
    const request = { ...UpdateServiceRequest.create({ id, version: meta.version }), ...change(service) };
    try {
      return await control.updateService(request, { signal });
    } catch (error) {
      if (attempt >= ATTEMPTS_MAX || !isSwarmError(error, "OutOfSequence")) throw error;
    }
  }
}
