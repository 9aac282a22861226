// The flags of `service create` and `service update` that say where tasks may go: strategy, preferences, platforms, affinities, and
// the generic resources that a node must have. flags.ts and list-flags.ts put them among the others.

import { SwarmError } from "../../../proto/base/errors.ts";
import {
  type GenericResource,
  Placement_Strategy,
  type PlacementPreference,
  type Platform,
} from "../../../proto/gen/specs.ts";
import { parseAffinity } from "../../../proto/model/affinity.ts";
import { parseSpread } from "../../../proto/model/constraint.ts";
import { parseAskedResource } from "../../../proto/model/generic-resource.ts";
import type { WholeServiceSpec, WholeTaskSpec } from "../../../proto/model/objects.ts";
import type { Flag } from "./flags.ts";
import type { ListFlag } from "./list-flags.ts";

function inPlacement(spec: WholeServiceSpec, change: Partial<WholeTaskSpec["placement"]>): WholeServiceSpec {
  return { ...spec, task: { ...spec.task, placement: { ...spec.task.placement, ...change } } };
}

function strategyOf(text: string): Placement_Strategy {
  switch (text.toLowerCase()) {
    case "spread":
      return Placement_Strategy.SPREAD;
    case "binpack":
      return Placement_Strategy.BINPACK;
    default:
      throw new SwarmError("InvalidArgument", `invalid --strategy "${text}": it must be spread or binpack`);
  }
}

/** "spread=node.labels.zone" */
function preferenceOf(text: string): PlacementPreference {
  const [, spread] = /^\s*spread\s*=\s*(.*?)\s*$/.exec(text) ?? [];
  if (spread === undefined)
    throw new SwarmError(
      "InvalidArgument",
      `invalid placement preference "${text}": it must have the form spread=KEY, for example spread=node.labels.zone`,
    );
  parseSpread(spread);
  return { spread };
}

/** "linux/amd64", "linux" */
function platformOf(text: string): Platform {
  const [, os = "", architecture = ""] = /^([a-z0-9]+)(?:\/([a-z0-9_]+))?$/.exec(text) ?? [];
  if (os === "")
    throw new SwarmError(
      "InvalidArgument",
      `invalid platform "${text}": it must have the form OS[/ARCHITECTURE], for example linux/amd64`,
    );
  return { os, architecture };
}

export function printPlatform({ os, architecture }: Platform): string {
  return architecture === "" ? os : `${os}/${architecture}`;
}

export const STRATEGY: Flag = {
  flag: "--strategy <strategy>",
  help: 'How tasks are placed on nodes ("spread", "binpack") (default "spread")',
  set: (spec, value) => inPlacement(spec, { strategy: strategyOf(value) }),
};

export const PREFERENCES: ListFlag<PlacementPreference> = {
  name: "placement-pref",
  help: "Placement preference (spread=node.labels.NAME)",
  parse: (text) => [preferenceOf(text)],
  get: (spec) => spec.task.placement.preferences,
  set: (spec, preferences) => inPlacement(spec, { preferences }),
  key: ({ spread }) => spread,
  matches: ({ spread }, text) => preferenceOf(text).spread === spread,
};

export const PLATFORMS: ListFlag<Platform> = {
  name: "platform",
  help: "Platform that nodes must have (os/arch)",
  parse: (text) => [platformOf(text)],
  get: (spec) => spec.task.placement.platforms,
  set: (spec, platforms) => inPlacement(spec, { platforms }),
  key: printPlatform,
};

export const AFFINITIES: ListFlag<string> = {
  name: "affinity",
  help: "Services wanted beside it, or not (service==NAME, service!=NAME, service.labels.KEY==VALUE)",
  parse: (text) => [parseAffinity(text).text],
  get: (spec) => spec.task.placement.affinities,
  set: (spec, affinities) => inPlacement(spec, { affinities }),
  key: (text) => text,
  matches: (item, text) => parseAffinity(text).text === item,
};

export const GENERIC_RESOURCES: ListFlag<GenericResource> = {
  name: "generic-resource",
  help: "User defined resources (kind=number)",
  parse: (text) => [parseAskedResource(text)],
  get: (spec) => spec.task.reservations.generic,
  set: (spec, generic) => ({
    ...spec,
    task: { ...spec.task, reservations: { ...spec.task.reservations, generic } },
  }),
  key: ({ kind }) => kind,
  matches: ({ kind }, text) => text === kind || text.startsWith(`${kind}=`),
};
