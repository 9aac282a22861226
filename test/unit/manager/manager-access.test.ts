// Every call that a manager serves has a row that says who may make it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCESS } from "../../../manager/access.ts";
import { NodeCaService } from "../../../proto/gen/ca.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { DispatcherService } from "../../../proto/gen/dispatcher.ts";
import { RaftMembershipService, RaftService } from "../../../proto/gen/raft.ts";

test("every method has a row, and no row is without a method", () => {
  assert.deepEqual(Object.keys(ACCESS.control).sort(), Object.keys(ControlService).sort());
  assert.deepEqual(Object.keys(ACCESS.dispatcher).sort(), Object.keys(DispatcherService).sort());
  assert.deepEqual(Object.keys(ACCESS.nodeCa).sort(), Object.keys(NodeCaService).sort());
  assert.deepEqual(Object.keys(ACCESS.raft).sort(), Object.keys(RaftService).sort());
  assert.deepEqual(Object.keys(ACCESS.raftMembership).sort(), Object.keys(RaftMembershipService).sort());
});

test("workers and strangers never reach the cluster's API, and strangers only the certificate authority", () => {
  for (const kinds of Object.values(ACCESS.control)) assert.deepEqual([...kinds].sort(), ["local", "manager"]);
  for (const kinds of Object.values(ACCESS.dispatcher)) assert.deepEqual([...kinds].sort(), ["manager", "worker"]);
  for (const kinds of Object.values(ACCESS.nodeCa)) assert.ok(!kinds.includes("local"));
  for (const kinds of Object.values({ ...ACCESS.raft, ...ACCESS.raftMembership })) assert.deepEqual(kinds, ["manager"]);
});
