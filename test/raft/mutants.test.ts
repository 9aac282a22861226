// The list of mutants follows the code. Whether each is caught is what `npm run mutants` finds out.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { editedFiles } from "../mutants/apply.ts";
import { MUTANTS } from "../mutants/mutants.ts";

test("every mutant of the list fits the core and changes it", () => {
  const raftFolder = join(import.meta.dirname, "../../manager/raft");
  for (const mutant of MUTANTS) assert.ok(editedFiles(mutant, raftFolder).size > 0);
  assert.equal(new Set(MUTANTS.map(({ it }) => it)).size, MUTANTS.length);
});
