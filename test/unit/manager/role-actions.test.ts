// What the role manager finds to do: one row per situation of a node, and never two changes of the membership at once.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberView } from "../../../manager/group-log.ts";
import { roleActions } from "../../../manager/role-actions.ts";
import { Node } from "../../../proto/gen/objects.ts";
import { NodeRole, NodeSpec } from "../../../proto/gen/specs.ts";
import { type WholeNode, wholeNode } from "../../../proto/model/objects.ts";

const { MANAGER, WORKER } = NodeRole;
const none: ReadonlySet<string> = new Set();

function node(
  id: string,
  roles: { readonly wants: NodeRole; readonly is: NodeRole; readonly addr?: string },
): WholeNode {
  const { addr, is, wants } = roles;
  return wholeNode({
    ...Node.create(),
    id,
    spec: { ...NodeSpec.create(), role: wants },
    role: is,
    managerStatus: addr === undefined ? undefined : { addr, leader: false, reachability: 0 },
  });
}

function member(nodeId: string, raftId: number, change: Partial<MemberView> = {}): MemberView {
  const still = { isLearner: false, isLeader: false, isSelf: false, reachable: true, isCaughtUp: true };
  return { nodeId, raftId, addr: `${nodeId}:2377`, ...still, ...change };
}

const self = member("m1", 1, { isSelf: true, isLeader: true });
const me = node("m1", { wants: MANAGER, is: MANAGER, addr: "m1:2377" });

test("a node that is to be a manager gets its role, joins by itself, counts once it has caught up, and is written down", () => {
  const steps: readonly (readonly [WholeNode, MemberView | undefined, unknown])[] = [
    [node("n", { wants: MANAGER, is: WORKER }), undefined, [{ kind: "makeManager", nodeId: "n" }]],
    [node("n", { wants: MANAGER, is: MANAGER }), undefined, []],
    [node("n", { wants: MANAGER, is: MANAGER }), member("n", 2, { isLearner: true, isCaughtUp: false }), []],
    [node("n", { wants: MANAGER, is: MANAGER }), member("n", 2, { isLearner: true, reachable: false }), []],
    [
      node("n", { wants: MANAGER, is: MANAGER }),
      member("n", 2, { isLearner: true }),
      [{ kind: "promote", nodeId: "n", raftId: 2 }],
    ],
    [
      node("n", { wants: MANAGER, is: MANAGER }),
      member("n", 2),
      [{ kind: "noteAddress", nodeId: "n", addr: "n:2377" }],
    ],
    [node("n", { wants: MANAGER, is: MANAGER, addr: "n:2377" }), member("n", 2), []],
    [
      node("n", { wants: MANAGER, is: MANAGER, addr: "old:2377" }),
      member("n", 2),
      [{ kind: "noteAddress", nodeId: "n", addr: "n:2377" }],
    ],
  ];
  for (const [each, at, expected] of steps) {
    const members = at === undefined ? [self] : [self, at];
    assert.deepEqual(roleActions({ nodes: [me, each], members, joining: none }), expected);
  }
});

test("a node that is to be a worker is first taken out of the group, the leader by another one", () => {
  const leaving = node("n", { wants: WORKER, is: MANAGER, addr: "n:2377" });
  const removal = { kind: "removeMember", nodeId: "n", raftId: 2 };
  assert.deepEqual(roleActions({ nodes: [me, leaving], members: [self, member("n", 2)], joining: none }), [removal]);
  assert.deepEqual(roleActions({ nodes: [me, leaving], members: [self], joining: none }), [
    { kind: "makeWorker", nodeId: "n", lost: false },
  ]);
  assert.deepEqual(
    roleActions({ nodes: [me, node("n", { wants: WORKER, is: WORKER })], members: [self], joining: none }),
    [],
  );
  const leader = node("m1", { wants: WORKER, is: MANAGER, addr: "m1:2377" });
  assert.deepEqual(roleActions({ nodes: [leader], members: [self], joining: none }), [
    { kind: "handOver", nodeId: "m1" },
  ]);
});

test("a manager that the group lost becomes a worker, a member without a node goes, and a node that joins is left alone", () => {
  const lost = node("n", { wants: MANAGER, is: MANAGER, addr: "n:2377" });
  assert.deepEqual(roleActions({ nodes: [me, lost], members: [self], joining: none }), [
    { kind: "makeWorker", nodeId: "n", lost: true },
  ]);
  assert.deepEqual(roleActions({ nodes: [me, lost], members: [self], joining: new Set(["n"]) }), []);
  assert.deepEqual(roleActions({ nodes: [me], members: [self, member("gone", 3)], joining: none }), [
    { kind: "removeMember", nodeId: "gone", raftId: 3 },
  ]);
});

test("of several changes of the membership one is made at a time: more that count first, the leader last", () => {
  const nodes = [
    node("m1", { wants: WORKER, is: MANAGER, addr: "m1:2377" }),
    node("a", { wants: WORKER, is: MANAGER, addr: "a:2377" }),
    node("b", { wants: MANAGER, is: MANAGER }),
    node("c", { wants: MANAGER, is: WORKER }),
  ];
  const members = [self, member("a", 2), member("b", 3, { isLearner: true })];
  assert.deepEqual(roleActions({ nodes, members, joining: none }), [
    { kind: "makeManager", nodeId: "c" },
    { kind: "promote", nodeId: "b", raftId: 3 },
  ]);
  const promoted = [self, member("a", 2), member("b", 3)];
  const kinds = roleActions({ nodes, members: promoted, joining: none }).map(({ kind }) => kind);
  assert.deepEqual(kinds, ["noteAddress", "makeManager", "removeMember"]);
});
