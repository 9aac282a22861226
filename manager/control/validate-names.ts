// Names of cluster objects and labels: Docker's rule, and the bounds that are ours.

import { type Field, checkMap, invalid, refused } from "./validate.ts";

export const NAME_MAX = 63;

const NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/;

/** A name that must be there: letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit; 63 at most. */
export function checkName(field: Field<string>): void {
  if (field.value === "") throw refused(field.path, `${field.path} is missing: a name must be provided`);
  if (field.value.length > NAME_MAX) throw invalid(field, `a name must be ${NAME_MAX} characters or fewer`);
  if (!NAME.test(field.value))
    throw invalid(
      field,
      "a name has only letters, digits, '-', '_' and '.', and begins and ends with a letter or a digit",
    );
}

/** Labels: 256 of them, keys of 256 characters, values of 4,096. */
export function checkLabels(field: Field<Readonly<Record<string, string>>>): void {
  checkMap(field, { max: 256, valueMax: 4_096 });
}
