// Whether a placement may be what it asks, and the generic resources of a task: each field by its path, its value and what would be
// valid.

import { isSwarmError } from "../../proto/base/errors.ts";
import { type GenericResource, type Placement, Placement_Strategy } from "../../proto/gen/specs.ts";
import { parseAffinity } from "../../proto/model/affinity.ts";
import { parseConstraint, parseSpread } from "../../proto/model/constraint.ts";
import { isGenericKind } from "../../proto/model/generic-resource.ts";
import {
  type Field,
  checkEnum,
  checkForm,
  checkList,
  checkNumber,
  checkText,
  checkUnique,
  invalid,
  refused,
} from "./validate.ts";

const LIST_MAX = 64;
const PREFERENCES_MAX = 8;
const TEXT_MAX = 512;
const COUNT_MAX = 4_294_967_295;
const GENERIC_COUNT_MAX = 1_000_000;
const PLATFORM_PART = {
  pattern: /^[a-z0-9_]{1,32}$/,
  expected: "it must be as images name it, such as linux or amd64",
};

export function checkPlacement({ path, value: placement }: Field<Placement>): void {
  checkTexts({ path: `${path}.constraints`, value: placement.constraints }, parseConstraint);
  checkNumber(
    { path: `${path}.max_replicas_per_node`, value: placement.maxReplicasPerNode },
    { min: 0, max: COUNT_MAX },
  );
  const preferences = { path: `${path}.preferences`, value: placement.preferences };
  checkList(preferences, PREFERENCES_MAX, (preference) => {
    checkText({ path: `${preference.path}.spread`, value: preference.value.spread }, TEXT_MAX);
    named(`${preference.path}.spread`, () => parseSpread(preference.value.spread));
  });
  checkUnique(
    preferences,
    ({ spread }) => spread,
    (spread) => `${path}.preferences has spread=${spread} twice; once is enough`,
  );
  checkList({ path: `${path}.platforms`, value: placement.platforms }, LIST_MAX, (platform) => {
    const { os, architecture } = platform.value;
    if (os === "" && architecture === "")
      throw invalid(platform, "a platform has an os, an architecture or both, such as linux/amd64");
    checkForm({ path: `${platform.path}.os`, value: os }, PLATFORM_PART);
    checkForm({ path: `${platform.path}.architecture`, value: architecture }, PLATFORM_PART);
  });
  checkEnum({ path: `${path}.strategy`, value: placement.strategy }, Placement_Strategy);
  checkTexts({ path: `${path}.affinities`, value: placement.affinities }, parseAffinity);
}

/** What a service reserves of what only the operator knows. */
export function checkGeneric(field: Field<readonly GenericResource[]>): void {
  checkList(field, LIST_MAX, ({ path, value: { kind, count, names } }) => {
    if (!isGenericKind(kind))
      throw invalid(
        { path: `${path}.kind`, value: kind },
        "a kind has 1 to 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or a digit",
      );
    if (names.length > 0)
      throw invalid(
        { path: `${path}.names`, value: names },
        `a service asks for a number, such as ${kind}=1; named generic resources are declared by nodes alone`,
      );
    checkNumber({ path: `${path}.count`, value: count }, { min: 1, max: GENERIC_COUNT_MAX });
  });
  checkUnique(
    field,
    ({ kind }) => kind,
    (kind) => `${field.path} has ${kind} twice; give one number for it`,
  );
}

function checkTexts({ path, value }: Field<readonly string[]>, parse: (text: string) => unknown): void {
  checkList({ path, value }, LIST_MAX, (item) => {
    checkText(item, TEXT_MAX);
    named(item.path, () => parse(item.value));
  });
}

/** What the reader of a text refuses, with the path of the field that holds it. */
function named(path: string, read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (isSwarmError(error, "InvalidArgument")) throw refused(path, `${path}: ${error.message}`);
    throw error;
  }
}
