// Membership changes as etcd's data describes them, from one membership to the next.

import assert from "node:assert/strict";
import { testEachFile } from "../raft/support/conformance.ts";
import { firstDifference } from "../raft/support/datadriven.ts";
import { MembershipScenario } from "../raft/support/membership-commands.ts";

testEachFile("etcd-raft/confchange", (file) => {
  const scenario = new MembershipScenario();
  const difference = firstDifference(file, (command) => scenario.run(command));
  if (difference !== null) assert.equal(difference.actual, difference.expected, difference.where);
});
