// `tsswarm service ls`.

import { type PortConfig, PortConfig_PublishMode } from "../../../proto/gen/specs.ts";
import { wholeService } from "../../../proto/model/objects.ts";
import { completionsOf, isJob, modeOf } from "../../../proto/model/service-mode.ts";
import { protocolName } from "../../docker/spec.ts";
import type { Context } from "../context.ts";
import { type Columns, type Row, formatList } from "../format/list.ts";
import { filtersOf } from "../options.ts";

const COLUMNS: Columns = [
  ["ID", "ID"],
  ["NAME", "Name"],
  ["MODE", "Mode"],
  ["REPLICAS", "Replicas"],
  ["IMAGE", "Image"],
  ["PORTS", "Ports"],
];

/** Ids in tables are cut to this length, as docker's. */
export const SHORT_ID = 12;

export async function listServices(
  context: Context,
  options: { readonly filter?: readonly string[]; readonly format?: string; readonly quiet?: boolean },
): Promise<void> {
  const control = await context.control();
  const { services } = await control.listServices({ filters: filtersOf(options.filter) }, { signal: context.signal });
  const rows: Row[] = services.flatMap(({ service, runningTasks, desiredTasks, completedTasks }) => {
    if (service === undefined) return [];
    const { id, spec } = wholeService(service);
    const { maxReplicasPerNode: perNode } = spec.task.placement;
    const running = `${runningTasks}/${desiredTasks}`;
    const most = perNode > 0 ? ` (max ${perNode} per node)` : "";
    const done = ` (${completedTasks}/${completionsOf(spec) ?? desiredTasks + completedTasks} completed)`;
    return {
      ID: id.slice(0, SHORT_ID),
      Name: spec.name,
      Mode: modeOf(spec).replace("-", " "),
      Replicas: `${running}${isJob(spec) ? done : most}`,
      Image: spec.task.container.image,
      Ports: spec.endpoint.ports.map(portText).join(","),
    };
  });
  rows.sort((a, b) => ((a["Name"] ?? "") < (b["Name"] ?? "") ? -1 : 1));
  context.stdout.write(formatList({ rows, columns: COLUMNS, id: "ID" }, options));
}

/** `*:8080->80/tcp`, and in mode host `8080->80/tcp (host)`. */
export function portText(port: PortConfig): string {
  const host = port.publishMode === PortConfig_PublishMode.HOST;
  const published = port.publishedPort === 0 ? "*" : String(port.publishedPort);
  return `${host ? "" : "*:"}${published}->${port.targetPort}/${protocolName(port.protocol)}${host ? " (host)" : ""}`;
}
