// What of the core's decisions an operator wants to read, as log lines.

import type { TraceEvent } from "raft-ts";
import type { Logger } from "../../proto/base/log.ts";

export function traceLogger(logger: Logger): (event: TraceEvent) => void {
  return (event) => {
    switch (event.kind) {
      case "becameLeader":
        logger.info("elected leader", { term: event.term });
        return;
      case "becameFollower":
        logger.info("following", { term: event.term, leader: event.leader });
        return;
      case "quorumInactive":
        logger.warn("no majority of the managers answers: this one stops leading", { term: event.term });
        return;
      case "electionStarted":
        logger.debug("asking for votes", { term: event.term });
        return;
      case "confChangeIgnored":
        logger.warn("a membership change was refused", { reason: event.reason });
        return;
      case "transferStarted":
        logger.info("handing leadership over", { to: event.to, term: event.term });
        return;
      case "logDiverged":
        logger.error("the log contradicts the leader's", { index: event.index, commit: event.commit });
        return;
      default:
        return;
    }
  };
}
