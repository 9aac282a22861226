// What the passing of time does, counted in ticks: elections, heartbeats, checks (Raft 5.2; thesis 6.2, 3.10).

import { NONE } from "../ids.ts";
import { message } from "../message.ts";
import { step } from "./step.ts";
import type { Raft } from "./state.ts";

export function tick(raft: Raft): void {
  if (raft.role === "leader") tickLeader(raft);
  else tickElection(raft);
}

function tickElection(raft: Raft): void {
  raft.electionElapsed++;
  if (!raft.isPromotable || raft.electionElapsed < raft.electionTimeout) return;
  raft.electionElapsed = 0;
  step(raft, message({ type: "hup", from: raft.id }));
}

function tickLeader(raft: Raft): void {
  raft.heartbeatElapsed++;
  raft.electionElapsed++;
  if (raft.electionElapsed >= raft.config.electionTicks) {
    raft.electionElapsed = 0;
    if (raft.config.checkQuorum) step(raft, message({ type: "checkQuorum", from: raft.id }));
    // A transfer that has not happened by now may never: take proposals again.
    if (isLeader(raft)) raft.transferTo = NONE;
  }
  if (!isLeader(raft) || raft.heartbeatElapsed < raft.config.heartbeatTicks) return;
  raft.heartbeatElapsed = 0;
  step(raft, message({ type: "beat", from: raft.id }));
}

/** Asked anew after each step: a step may end the leadership. */
function isLeader(raft: Raft): boolean {
  return raft.role === "leader";
}
