// Every interaction scenario of the conformance data, line by line: what the core decides, in the order it decides it.

import assert from "node:assert/strict";
import { runCommand } from "../raft/support/commands.ts";
import { testEachFile } from "../raft/support/conformance.ts";
import { firstDifference } from "../raft/support/datadriven.ts";
import { Scenario } from "../raft/support/scenario.ts";

testEachFile("etcd-raft/interaction", (file) => {
  const scenario = new Scenario();
  const difference = firstDifference(file, (command) => runCommand(scenario, command));
  if (difference !== null) assert.equal(difference.actual, difference.expected, difference.where);
});
