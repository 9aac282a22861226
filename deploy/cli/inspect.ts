// What every `inspect` does: get each object, go on past the ones that are missing, print all as JSON, by template or for
// people.

import { errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { Json } from "../docker/spec.ts";
import { type Context, print, warn } from "./context.ts";
import { compileTemplate } from "./format/template.ts";

export interface InspectRequest<T> {
  readonly refs: readonly string[];
  readonly format: string | undefined;
  /** Given when the form for people is wanted. */
  readonly pretty: ((object: T) => string) | undefined;
  readonly get: (ref: string) => Promise<T>;
  readonly json: (object: T) => Json;
}

export async function inspectObjects<T>(context: Context, request: InspectRequest<T>): Promise<void> {
  const found: T[] = [];
  const failures: string[] = [];
  for (const ref of request.refs) {
    try {
      found.push(await request.get(ref));
    } catch (error) {
      if (!isSwarmError(error, "NotFound", "InvalidArgument")) throw error;
      failures.push(errorText(error));
    }
  }
  const { pretty, format, json } = request;
  if (pretty !== undefined) print(context, found.map(pretty).join("\n"));
  else if (format === undefined) print(context, JSON.stringify(found.map(json), null, 4));
  else if (format === "json") print(context, JSON.stringify(found.map(json)));
  else {
    const template = compileTemplate(format);
    for (const object of found) print(context, template(json(object)));
  }
  for (const failure of failures) warn(context, `Error: ${failure}`);
  if (failures.length > 0) context.exit(1);
}
