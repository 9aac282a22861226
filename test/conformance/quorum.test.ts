// Quorums as etcd's data describes them: what majorities and joint quorums commit, and how votes go.

import assert from "node:assert/strict";
import { testEachFile } from "../raft/support/conformance.ts";
import { firstDifference } from "../raft/support/datadriven.ts";
import { runQuorumCommand } from "../raft/support/quorum-commands.ts";

testEachFile("etcd-raft/quorum", (file) => {
  const difference = firstDifference(file, runQuorumCommand);
  if (difference !== null) assert.equal(difference.actual, difference.expected, difference.where);
});
