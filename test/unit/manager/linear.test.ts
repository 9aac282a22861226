// What the leader refuses is refused over the newest state: a manager that was stopped for a while may lead by its own word only.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SwarmError } from "../../../proto/base/errors.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { linearRefusals } from "../../../manager/linear.ts";
import { isNotTaken } from "../../../manager/store/not-taken.ts";
import { LOCAL } from "../../support/manager-group.ts";

/** A service that knows a node only once the store is at version 2. */
function serviceOver(log: { readonly readBarrier: (at: { version: number }) => Promise<void> }): {
  readonly ask: () => Promise<string>;
  readonly calls: () => number;
} {
  const store = { version: 1 };
  let calls = 0;
  const renew = (_request: null, _context: CallContext): Promise<string> => {
    calls += 1;
    return store.version < 2
      ? Promise.reject(new SwarmError("PermissionDenied", "node n is not a member of this cluster"))
      : Promise.resolve("a certificate");
  };
  const service = linearRefusals({ renew }, { store, log: { readBarrier: () => log.readBarrier(store) } });
  return { ask: () => service.renew(null, LOCAL), calls: () => calls };
}

test("a refusal over an old state is taken back once the newest is here", async () => {
  const late = serviceOver({
    readBarrier: (store) => {
      store.version = 2;
      return Promise.resolve();
    },
  });
  assert.equal(await late.ask(), "a certificate");
  assert.equal(late.calls(), 2);
});

test("a refusal over the newest state stands, and without a majority nothing is refused for good", async () => {
  const newest = serviceOver({ readBarrier: () => Promise.resolve() });
  await assert.rejects(newest.ask(), { code: "PermissionDenied" });
  assert.equal(newest.calls(), 1);
  const alone = serviceOver({
    readBarrier: () => Promise.reject(new SwarmError("Unavailable", "the cluster has no leader")),
  });
  await assert.rejects(alone.ask(), (error) => isNotTaken(error) && /no leader/.test(error.message));
});
