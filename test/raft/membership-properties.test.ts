// Membership changes from random memberships: the short way and the joint way lead to the same, nothing breaks what a
// membership must be, and what is written down reads back as it was.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type ConfChange,
  type ConfChangeSingle,
  type ConfState,
  decodeConfChange,
  encodeConfChange,
} from "../../manager/raft/index.ts";
import {
  type ChangeOutcome,
  changed,
  changedSimply,
  enterJoint,
  leaveJoint,
  restored,
} from "../../manager/raft/confchange/change.ts";
import type { Membership } from "../../manager/raft/confchange/draft.ts";
import { viewProgress } from "../../manager/raft/core/view.ts";
import { toConfState } from "../../manager/raft/tracker/configuration.ts";
import { ProgressTracker } from "../../manager/raft/tracker/tracker.ts";

const TYPES = ["addNode", "removeNode", "updateNode", "addLearnerNode"] as const;
const PLAIN = { noNullPrototype: true };
const single: fc.Arbitrary<ConfChangeSingle> = fc.record(
  {
    type: fc.constantFrom(...TYPES),
    nodeId: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 6 }) }, fc.constant(0)),
  },
  PLAIN,
);
const singles = fc.array(single, { maxLength: 6 });
const change: fc.Arbitrary<ConfChange> = fc.record(
  {
    transition: fc.constantFrom("auto" as const, "implicit" as const, "explicit" as const),
    changes: singles,
    context: fc.uint8Array({ maxLength: 5 }),
  },
  PLAIN,
);

/** A tracker with a membership that random changes made, each where it was taken. */
function trackerAfter(history: readonly ConfChange[]): ProgressTracker {
  const tracker = new ProgressTracker({ maxMessages: 10, maxBytes: 0 });
  adopt(tracker, changedSimply({ tracker, lastIndex: 1 }, [{ type: "addNode", nodeId: 1 }]));
  for (const [i, one] of history.entries()) adopt(tracker, changed({ tracker, lastIndex: i + 2 }, one));
  return tracker;
}

function adopt(tracker: ProgressTracker, outcome: ChangeOutcome): void {
  if (outcome.kind === "refused") return;
  tracker.config = outcome.membership.config;
  tracker.progress = outcome.membership.progress;
}

function words(of: { readonly membership: Membership; readonly without: readonly number[] }): unknown {
  const progress = [...of.membership.progress].sort(([a], [b]) => a - b);
  const compared = progress.filter(([id]) => !of.without.includes(id));
  return {
    conf: toConfState(of.membership.config),
    ids: progress.map(([id]) => id),
    progress: compared.map(([id, one]) => [id, viewProgress(one)]),
  };
}

function votersOf(conf: ConfState): string {
  return [...new Set([...conf.voters, ...conf.votersOutgoing])].sort((a, b) => a - b).join();
}

const histories = fc.array(change, { maxLength: 6 });

test("one step and the way through a joint membership lead to the same members and progress", () => {
  let taken = 0;
  fc.assert(
    fc.property(histories, singles, fc.boolean(), (history, changes, autoLeave) => {
      const tracker = trackerAfter(history);
      const base = { tracker, lastIndex: 100 };
      if (tracker.config.voters.isJoint) adopt(tracker, leaveJoint(base));
      const before = words({ membership: tracker, without: [] });
      const simple = changedSimply(base, changes);
      const joint = enterJoint(base, { changes, autoLeave });
      assert.deepEqual(words({ membership: tracker, without: [] }), before, "asking changes nothing");
      if (simple.kind === "refused") return;
      taken++;
      assert.equal(joint.kind, "ok");
      adopt(tracker, joint);
      assert.equal(tracker.config.autoLeave, autoLeave);
      const left = leaveJoint(base);
      assert.equal(left.kind, "ok");
      adopt(tracker, left);
      // Who is removed and added again in one breath begins anew in one step, and is kept by the outgoing half.
      const renewed = changes.filter(({ type }) => type === "removeNode").map(({ nodeId }) => nodeId);
      assert.deepEqual(
        words({ membership: tracker, without: renewed }),
        words({ membership: simple.membership, without: renewed }),
      );
    }),
    { numRuns: 1200 },
  );
  assert.ok(taken > 200, `only ${taken} changes were possible in one step`);
});

test("one step is refused exactly where it would change more than one voter or leave none", () => {
  fc.assert(
    fc.property(histories, singles, (history, changes) => {
      const tracker = trackerAfter(history);
      const base = { tracker, lastIndex: 100 };
      if (tracker.config.voters.isJoint) adopt(tracker, leaveJoint(base));
      const before = new Set(tracker.config.voters.incoming);
      const after = new Set(before);
      for (const { type, nodeId } of changes) {
        if (nodeId === 0 || type === "updateNode") continue;
        if (type === "addNode") after.add(nodeId);
        else after.delete(nodeId);
      }
      const moved = [...new Set([...before, ...after])].filter((id) => before.has(id) !== after.has(id)).length;
      const isPossible = after.size > 0 && moved <= 1;
      assert.equal(changedSimply(base, changes).kind, isPossible ? "ok" : "refused");
    }),
    { numRuns: 500 },
  );
});

test("whatever is asked of a membership, it keeps its rules, and the members of a joint one keep both halves", () => {
  fc.assert(
    fc.property(histories, change, (history, one) => {
      const tracker = trackerAfter(history);
      const before = toConfState(tracker.config);
      const outcome = changed({ tracker, lastIndex: 100 }, one);
      if (outcome.kind === "refused") return;
      const after = toConfState(outcome.membership.config);
      assert.ok(after.voters.length > 0, "somebody has a vote");
      const isEntering = before.votersOutgoing.length === 0 && after.votersOutgoing.length > 0;
      if (isEntering) assert.deepEqual(after.votersOutgoing, before.voters, "the outgoing half is what was before");
      const all = [...after.learners, ...after.voters];
      assert.equal(new Set(all).size, all.length, "nobody learns and votes");
      assert.ok(after.learnersNext.every((id) => after.votersOutgoing.includes(id) && !after.voters.includes(id)));
      const members = new Set([...all, ...after.votersOutgoing]);
      assert.deepEqual([...outcome.membership.progress.keys()].sort(), [...members].sort());
      for (const [id, progress] of outcome.membership.progress) {
        assert.equal(progress.isLearner, !votersOf(after).split(",").includes(String(id)));
      }
    }),
    { numRuns: 500 },
  );
});

test("a membership that was stored comes back as it was", () => {
  fc.assert(
    fc.property(histories, (history) => {
      const conf = toConfState(trackerAfter(history).config);
      const tracker = new ProgressTracker({ maxMessages: 10, maxBytes: 0 });
      const membership = restored({ tracker, lastIndex: 7 }, conf);
      assert.deepEqual(toConfState(membership.config), conf);
      for (const { match, next, state } of membership.progress.values()) {
        assert.deepEqual({ match, next, state }, { match: 0, next: 7, state: "probe" });
      }
    }),
    { numRuns: 250 },
  );
});

test("a change reads back from an entry as it was written, and bytes that are none are refused without a throw", () => {
  fc.assert(
    fc.property(change, fc.uint8Array({ maxLength: 40 }), (one, bytes) => {
      const { type, data } = encodeConfChange(one, "batch");
      assert.deepEqual(decodeConfChange(type, data), one);
      for (const form of [1, 2] as const) {
        const read = decodeConfChange(form, bytes);
        if (read === null) continue;
        const again = encodeConfChange(read, form === 1 ? "single" : "batch");
        assert.deepEqual(decodeConfChange(form, again.data), read);
      }
    }),
    { numRuns: 250 },
  );
});
