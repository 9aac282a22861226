// Asking managers for a certificate: with a join token as a new node, or with the certificate that the node has. The token is
// sent only to a manager whose root certificate is the one the token names.

import { SwarmError, errorText, isSwarmError } from "../proto/base/errors.ts";
import { NodeCaService } from "../proto/gen/ca.ts";
import { NodeSpec_Availability } from "../proto/gen/specs.ts";
import { parseJoinToken } from "../proto/model/join-token.ts";
import { createClient } from "../proto/rpc/call.ts";
import type { RpcChannel } from "../proto/rpc/channel.ts";
import type { Client } from "../proto/rpc/methods.ts";
import {
  type ClientSecurity,
  anonymousCredentials,
  certificateDigest,
  checkRoot,
  clientCredentials,
  uncheckedCredentials,
} from "../proto/rpc/tls.ts";
import { type IdentityOptions, type IssuedIdentity, type Issuer, NodeIdentity } from "./identity.ts";

/** Opens a channel to host:port; `tlsChannel` in production. */
export type Dial = (address: string, security: ClientSecurity) => RpcChannel;

export interface JoinOptions extends IdentityOptions {
  /** host:port of managers; tried in turn, at least one. */
  readonly remotes: readonly string[];
  /** As people paste it. */
  readonly token: string;
  readonly availability: NodeSpec_Availability;
  readonly dial: Dial;
}

const ANSWER_MS_MAX = 5_000;
const REMOTES_MAX = 16;
type CaClient = Client<typeof NodeCaService>;

/**
 * Makes this machine a node of a cluster. Throws InvalidArgument for a token that is none, FailedPrecondition when it is in
 * a cluster already, what a manager refused it with, or Unavailable when none answers.
 */
export function joinCluster(options: JoinOptions, signal: AbortSignal): Promise<NodeIdentity> {
  const { caDigest } = parseJoinToken(options.token);
  if (options.remotes.length === 0 || options.remotes.length > REMOTES_MAX)
    throw new SwarmError("InvalidArgument", `name 1 to ${REMOTES_MAX} managers to join, as host:port`);
  const issuer: Issuer = (csrPem, until) =>
    firstAnswer(options.remotes, until, async (address) => {
      const caPem = await fetchRoot(options.dial, { address, caDigest, signal: until });
      const security = anonymousCredentials({ caPem });
      const request = { csrPem, token: options.token.trim(), availability: options.availability };
      return issueFrom(options.dial(address, security), { request, signal: until, caDigest });
    });
  return NodeIdentity.create(options, { issuer, managers: options.remotes }, signal);
}

/** Renews at the managers that `addresses` names when it is asked, with the certificate that the node then has. */
export function renewingIssuer(
  identity: () => NodeIdentity,
  network: { readonly addresses: () => readonly string[]; readonly dial: Dial },
): Issuer {
  return (csrPem, signal) =>
    firstAnswer(network.addresses().slice(0, REMOTES_MAX), signal, (address) => {
      const { tls } = identity();
      const request = { csrPem, token: "", availability: NodeSpec_Availability.ACTIVE };
      const caDigest = certificateDigest(tls.caPem);
      return issueFrom(network.dial(address, clientCredentials(tls)), { request, signal, caDigest });
    });
}

/** The root certificate of the cluster at `address`, which must be the one with this digest. */
async function fetchRoot(
  dial: Dial,
  from: { readonly address: string; readonly caDigest: string; readonly signal: AbortSignal },
): Promise<string> {
  const channel = dial(from.address, uncheckedCredentials());
  try {
    const client: CaClient = createClient(NodeCaService, channel);
    const answer = await client.getRootCaCertificate({}, { signal: from.signal, timeoutMs: ANSWER_MS_MAX });
    const caPem = Buffer.from(answer.certificatePem).toString();
    checkRoot(caPem, { caDigest: from.caDigest, peer: from.address });
    return caPem;
  } finally {
    channel.close();
  }
}

async function issueFrom(
  channel: RpcChannel,
  ask: {
    readonly request: {
      readonly csrPem: string;
      readonly token: string;
      readonly availability: NodeSpec_Availability;
    };
    readonly signal: AbortSignal;
    readonly caDigest: string;
  },
): Promise<IssuedIdentity> {
  try {
    const client: CaClient = createClient(NodeCaService, channel);
    const answer = await client.issueNodeCertificate(
      { ...ask.request, csrPem: Buffer.from(ask.request.csrPem) },
      { signal: ask.signal, timeoutMs: ANSWER_MS_MAX },
    );
    const caPem = Buffer.from(answer.caCertificatePem).toString();
    checkRoot(caPem, { caDigest: ask.caDigest, peer: channel.peer });
    return { certPem: Buffer.from(answer.certificatePem).toString(), caPem };
  } finally {
    channel.close();
  }
}

/** Tries each address until one answers; a refusal is an answer. */
async function firstAnswer<T>(
  addresses: readonly string[],
  signal: AbortSignal,
  ask: (address: string) => Promise<T>,
): Promise<T> {
  const failures: string[] = [];
  for (const address of addresses) {
    try {
      return await ask(address);
    } catch (error) {
      signal.throwIfAborted();
      if (!isSwarmError(error, "Unavailable", "DeadlineExceeded", "NotLeader")) throw error;
      failures.push(errorText(error));
    }
  }
  throw new SwarmError("Unavailable", failures.length === 0 ? "no manager is known" : failures.join("; "));
}
