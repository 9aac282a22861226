// `tsswarm node inspect --pretty`.

import { printBytes } from "../../../proto/base/units.ts";
import { printResource } from "../../../proto/model/generic-resource.ts";
import type { WholeNode } from "../../../proto/model/objects.ts";
import { availabilityName, managerStatusName, nodeStateName, roleName } from "../../docker/objects.ts";
import { type Section, pretty } from "../format/pretty.ts";

export function prettyNode(node: WholeNode): string {
  const { description, managerStatus } = node;
  const sections: readonly Section[] = [
    ["ID", node.id],
    ["Name", node.spec.name],
    ["Labels", Object.entries(node.spec.labels).map(([key, value]) => `${key}=${value}`)],
    ["Hostname", description.hostname],
    ["Joined at", new Date(node.meta.createdAtMs).toISOString()],
    ["Role", roleName(node.spec.role)],
    [
      "Status",
      [
        ["State", nodeStateName(node.status.state)],
        ["Message", node.status.message],
        ["Availability", availabilityName(node.spec.availability)],
        ["Address", node.status.addr],
      ],
    ],
    ...(managerStatus === undefined
      ? []
      : ([
          [
            "Manager Status",
            [
              ["Address", managerStatus.addr],
              ["Raft Status", managerStatusName({ ...managerStatus, leader: false })],
              ["Leader", managerStatus.leader ? "Yes" : "No"],
            ],
          ],
        ] as const)),
    [
      "Platform",
      [
        ["Operating System", description.platform?.os ?? ""],
        ["Architecture", description.platform?.architecture ?? ""],
        ["Kernel", description.kernelVersion],
      ],
    ],
    [
      "Resources",
      [
        ["CPUs", String((description.resources?.nanoCpus ?? 0) / 1e9)],
        ["Memory", printBytes(description.resources?.memoryBytes ?? 0)],
        ["Generic Resources", (description.resources?.generic ?? []).map(printResource)],
      ],
    ],
    ["Engine Version", description.engineVersion],
    ["Engine Labels", Object.entries(description.engineLabels).map(([key, value]) => `${key}=${value}`)],
    ["Certificate expires", node.certExpiresAtMs === 0 ? "" : new Date(node.certExpiresAtMs).toISOString()],
  ];
  return pretty(sections);
}
