// `tsswarm node ls`.

import { type WholeNode, wholeNode } from "../../../proto/model/objects.ts";
import { availabilityName, managerStatusName, nodeStateName } from "../../docker/objects.ts";
import type { Context } from "../context.ts";
import { type Columns, type Row, formatList } from "../format/list.ts";
import { filtersOf } from "../options.ts";

const COLUMNS: Columns = [
  ["ID", "ID", (row) => `${row["ID"] ?? ""}${row["Self"] === "true" ? " *" : ""}`],
  ["HOSTNAME", "Hostname"],
  ["STATUS", "Status"],
  ["AVAILABILITY", "Availability"],
  ["MANAGER STATUS", "ManagerStatus"],
  ["ENGINE VERSION", "EngineVersion"],
];

export async function listNodes(
  context: Context,
  options: { readonly filter?: readonly string[]; readonly format?: string; readonly quiet?: boolean },
): Promise<void> {
  const { signal } = context;
  const control = await context.control();
  const { nodes } = await control.listNodes({ filters: filtersOf(options.filter) }, { signal });
  const info = await (await context.local()).info({}, { signal });
  const rows = nodes
    .map(wholeNode)
    .sort((a, b) => (a.description.hostname < b.description.hostname ? -1 : 1))
    .map((node) => nodeRow(node, info.nodeId));
  context.stdout.write(formatList({ rows, columns: COLUMNS, id: "ID" }, options));
}

function nodeRow(node: WholeNode, selfId: string): Row {
  return {
    ID: node.id,
    Self: String(node.id === selfId),
    Hostname: node.description.hostname,
    Status: capital(nodeStateName(node.status.state)),
    Availability: capital(availabilityName(node.spec.availability)),
    ManagerStatus: managerStatusName(node.managerStatus),
    EngineVersion: node.description.engineVersion,
    Labels: Object.entries(node.spec.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
    Address: node.status.addr,
  };
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
