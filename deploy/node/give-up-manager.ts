// Telling the cluster that a node which got a manager's certificate will be no manager after all: its object becomes a worker's,
// which can be removed, and nobody waits for it.

import type { NodeIdentity } from "../../agent/index.ts";
import { RaftMembershipService } from "../../proto/gen/raft.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { tlsChannel } from "../../proto/rpc/channel.ts";
import { clientCredentials } from "../../proto/rpc/tls.ts";

const ANSWER_MS_MAX = 3_000;

/** Asks the first of the managers (host:port), which passes it on. */
export async function giveUpManager(identity: NodeIdentity, managers: readonly string[]): Promise<void> {
  const [first] = managers;
  if (first === undefined) return;
  const channel = tlsChannel(first, clientCredentials(identity.tls));
  try {
    const { signal } = new AbortController();
    await createClient(RaftMembershipService, channel).leave({}, { signal, timeoutMs: ANSWER_MS_MAX });
  } finally {
    channel.close();
  }
}
