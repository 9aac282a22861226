// The commands of the conformance data about memberships: simple, enter-joint and leave-joint, with operations like
// v1 l2 r3 u4 as input. Each prints the membership it made and every member's progress, or why it was refused.

import { type ChangeOutcome, changedSimply, enterJoint, leaveJoint } from "../../../manager/raft/confchange/change.ts";
import { viewProgress } from "../../../manager/raft/core/view.ts";
import { ProgressTracker } from "../../../manager/raft/tracker/tracker.ts";
import type { Command } from "./datadriven.ts";
import { membershipWords, parseChanges, progressWords } from "./words.ts";

export class MembershipScenario {
  readonly #tracker = new ProgressTracker({ maxMessages: 10, maxBytes: 0 });
  /** The log grows by one entry with every command, so that a progress shows when it was made. */
  #lastIndex = 0;

  run(command: Command): string {
    const outcome = this.#outcome(command);
    this.#lastIndex++;
    if (outcome.kind === "refused") return `${outcome.reason}\n`;
    const tracker = this.#tracker;
    tracker.config = outcome.membership.config;
    tracker.progress = outcome.membership.progress;
    const rows = [...tracker.progress].sort(([a], [b]) => a - b);
    const words = rows.map(([id, progress]) => `${id}: ${progressWords(viewProgress(progress))}\n`);
    return `${membershipWords(tracker.confState())}\n${words.join("")}`;
  }

  #outcome(command: Command): ChangeOutcome {
    const base = { tracker: this.#tracker, lastIndex: this.#lastIndex };
    const changes = parseChanges(command.input);
    switch (command.name) {
      case "simple":
        return changedSimply(base, changes);
      case "enter-joint": {
        const wish = command.args.find((arg) => arg.key === "autoleave");
        return enterJoint(base, { changes, autoLeave: wish !== undefined && wish.values[0] !== "false" });
      }
      case "leave-joint":
        return changes.length > 0 ? { kind: "refused", reason: "this command takes no input" } : leaveJoint(base);
      default:
        return { kind: "refused", reason: "unknown command" };
    }
  }
}
