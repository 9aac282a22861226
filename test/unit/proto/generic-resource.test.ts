// Generic resources in the forms that nodes, services and containers use.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDaemonOptions } from "../../../deploy/node/options.ts";
import { parseAskedResource, parseNodeResources, resourceVariables } from "../../../proto/model/generic-resource.ts";

test("a node declares a number or names", () => {
  const declared = [
    { kind: "gpu", count: 0, names: ["UUID1", "UUID2"] },
    { kind: "license", count: 4, names: [] },
  ];
  assert.deepEqual(parseNodeResources(["gpu=UUID1", "license=4", "gpu=UUID2"]), declared);
  assert.deepEqual(parseNodeResources(["gpu=UUID1,gpu=UUID2,license=4"]), declared);
  const flags = ["--node-generic-resource", "gpu=UUID1", "--node-generic-resource", "gpu=UUID2,license=4"];
  assert.deepEqual(parseDaemonOptions(flags).genericResources, declared);
});

test("what cannot be declared or asked for is refused by name", () => {
  for (const [texts, message] of [
    [["gpu"], /"gpu": it must have the form KIND=NUMBER or KIND=NAME/],
    [["gpu=1", "gpu=UUID1"], /gpu is given as a number before/],
    [["gpu=UUID1", "gpu=1"], /one number, or names, but not both/],
    [["gpu=UUID1", "gpu=UUID1"], /UUID1 is given twice/],
    [["gpu=0"], /a number must be from 1 to/],
    [["g!=1"], /"g!" is no kind of a resource/],
    [["gpu=a$b"], /is no name/],
  ] as const)
    assert.throws(() => parseNodeResources(texts), { code: "InvalidArgument", message });
  assert.throws(() => parseAskedResource("gpu=UUID1"), { message: /a service asks for a number/ });
});

test("a container is told what it was given as docker tells it", () => {
  const given = [
    { kind: "gpu", count: 0, names: ["A", "B"] },
    { kind: "license", count: 2, names: [] },
  ];
  assert.deepEqual(resourceVariables(given), { DOCKER_RESOURCE_GPU: "A,B", DOCKER_RESOURCE_LICENSE: "2" });
});
