// This project's own scenarios, in the form of the conformance data. With RAFT_SCENARIOS_REWRITE=1 the files are
// written anew with what comes out; the difference is then to be read line by line.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runCommand } from "./support/commands.ts";
import { firstDifference, rewrite } from "./support/datadriven.ts";
import { Scenario } from "./support/scenario.ts";

const FOLDER = join(import.meta.dirname, "scenarios");
const isRewriting = process.env["RAFT_SCENARIOS_REWRITE"] === "1";

for (const name of readdirSync(FOLDER).sort()) {
  test(`scenario ${name} goes as written`, () => {
    const file = join(FOLDER, name);
    const scenario = new Scenario();
    if (isRewriting) {
      rewrite(file, (command) => runCommand(scenario, command));
      return;
    }
    const difference = firstDifference(file, (command) => runCommand(scenario, command));
    if (difference !== null) assert.equal(difference.actual, difference.expected, difference.where);
  });
}
