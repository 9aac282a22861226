// Sets of capabilities by Docker's rules.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_CAPABILITIES, capabilityBit, containerCapabilities } from "../../../native/capabilities.ts";
import { CAPABILITIES } from "../../../proto/base/capabilities.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";

test("a container holds Docker's fourteen capabilities unless it says otherwise", () => {
  const held = containerCapabilities({ add: [], drop: [] });
  assert.equal(held.length, 14);
  assert.deepEqual([...held].sort(), [...DEFAULT_CAPABILITIES].sort());
});

test("capabilities are added and dropped in any spelling", () => {
  const held = containerCapabilities({ add: ["net_admin", "CAP_SYS_TIME"], drop: ["cap_net_raw", "MKNOD"] });
  assert.ok(held.includes("CAP_NET_ADMIN") && held.includes("CAP_SYS_TIME"));
  assert.ok(!held.includes("CAP_NET_RAW") && !held.includes("CAP_MKNOD"));
  assert.equal(held.length, 14);
});

test("ALL is every capability on one side and none on the other", () => {
  assert.equal(containerCapabilities({ add: ["ALL"], drop: [] }).length, CAPABILITIES.length);
  assert.equal(containerCapabilities({ add: ["ALL"], drop: ["SYS_ADMIN"] }).length, CAPABILITIES.length - 1);
  assert.deepEqual(containerCapabilities({ add: [], drop: ["ALL"] }), []);
  assert.deepEqual(containerCapabilities({ add: ["CHOWN"], drop: ["all"] }), ["CAP_CHOWN"]);
  assert.ok(containerCapabilities({ add: ["CHOWN"], drop: ["CHOWN"] }).includes("CAP_CHOWN"));
});

test("a capability's bit is the kernel's number, and an unknown name is refused with the known ones", () => {
  assert.equal(capabilityBit("CAP_CHOWN"), 0);
  assert.equal(capabilityBit("CAP_SYS_ADMIN"), 21);
  assert.equal(capabilityBit("CAP_CHECKPOINT_RESTORE"), 40);
  assert.throws(
    () => containerCapabilities({ add: ["SYS_EVERYTHING"], drop: [] }),
    (error) => isSwarmError(error, "InvalidArgument") && error.message.includes("SYS_ADMIN"),
  );
});
