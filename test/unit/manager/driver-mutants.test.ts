// The list of the driver's mutants follows the code. Whether each is caught is what `npm run mutants:driver` finds out.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { editedFiles } from "../../mutants/apply.ts";
import { DRIVER_MUTANTS } from "../../mutants/driver-mutants.ts";

test("every mutant of the driver's list fits the code and changes it", () => {
  const folder = join(import.meta.dirname, "../../../manager");
  for (const mutant of DRIVER_MUTANTS) assert.ok(editedFiles(mutant, folder).size > 0);
  assert.equal(new Set(DRIVER_MUTANTS.map(({ it }) => it)).size, DRIVER_MUTANTS.length);
});
