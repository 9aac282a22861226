// Handing leadership to another voter (thesis 3.10): bring it up to date, then tell it to campaign at once. Proposals
// are dropped meanwhile; a transfer that takes longer than an election timeout is given up (see tick.ts).

import { NONE, type RaftId } from "../ids.ts";
import type { Message } from "../message.ts";
import type { Progress } from "../tracker/progress.ts";
import { sendAppend } from "./replicate.ts";
import type { Raft } from "./state.ts";

/** The message's sender is the node that shall lead. */
export function beginTransfer(raft: Raft, m: Message, progress: Progress): void {
  const to = m.from;
  const { term } = raft;
  if (progress.isLearner) {
    raft.trace({ kind: "transferToLearner", to, term });
    return;
  }
  if (raft.transferTo === to) {
    raft.trace({ kind: "transferRepeated", to, term });
    return;
  }
  if (raft.transferTo !== NONE) {
    raft.trace({ kind: "transferReplaced", to: raft.transferTo, term });
    raft.transferTo = NONE;
  }
  if (to === raft.id) {
    raft.trace({ kind: "transferToSelf", to, term });
    return;
  }
  raft.trace({ kind: "transferStarted", to, term });
  raft.electionElapsed = 0;
  raft.transferTo = to;
  if (progress.match === raft.log.lastIndex()) sendTimeoutNow(raft, { to, caughtUp: "already" });
  else sendAppend(raft, to);
}

/** The peer acknowledged entries: if it is the one that shall lead and now has them all, it may. */
export function finishTransfer(raft: Raft, m: Message, progress: Progress): void {
  if (m.from !== raft.transferTo || progress.match !== raft.log.lastIndex()) return;
  sendTimeoutNow(raft, { to: m.from, caughtUp: "just" });
}

function sendTimeoutNow(raft: Raft, wish: { readonly to: RaftId; readonly caughtUp: "already" | "just" }): void {
  raft.send({ type: "timeoutNow", to: wish.to });
  raft.trace({ kind: "timeoutNowSent", to: wish.to, caughtUp: wish.caughtUp });
}
