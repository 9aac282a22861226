// TLS between nodes: version 1.3 only, both sides known by certificates of the cluster's root. A client without a certificate
// is let in as nobody, because that is how a node joins; one with a bad certificate is refused, not taken for nobody.

import { X509Certificate, createHash } from "node:crypto";
import type { SecureContextOptions, PeerCertificate } from "node:tls";
import { createSecureContext } from "node:tls";
import { ChannelCredentials, type ChannelOptions, ServerCredentials } from "@grpc/grpc-js";
import { SwarmError, errorText } from "../base/errors.ts";

/** PEM, all three. */
export interface TlsIdentity {
  readonly certPem: string;
  readonly keyPem: string;
  /** The cluster's root certificate. */
  readonly caPem: string;
}

/** What a channel needs to connect over TLS. */
export interface ClientSecurity {
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
}

/** Organizational units of node certificates, as SwarmKit names them: they say the role. */
export const ROLE_UNITS = { worker: "swarm-worker", manager: "swarm-manager" } as const;

export type NodeRoleName = keyof typeof ROLE_UNITS;

/** Longest certificate that is looked at, in characters of PEM. */
const PEM_LENGTH_MAX = 65_536;

class NodeServerCredentials extends ServerCredentials {
  readonly #identity: () => TlsIdentity;

  constructor(identity: () => TlsIdentity) {
    super({ requestCert: true, rejectUnauthorized: false }, serverContext(identity()));
    this.#identity = identity;
  }

  /** New connections get the identity of now; those that stand go on with the one they began with. */
  reload(): void {
    this.updateSecureContextOptions(serverContext(this.#identity()));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** For a listener. `identity` is asked at once and at each `reload()`. Use `callerOf` (tls-caller.ts) with it. */
export function serverCredentials(identity: () => TlsIdentity): ServerCredentials & { reload(): void } {
  return new NodeServerCredentials(identity);
}

function serverContext(identity: TlsIdentity): SecureContextOptions {
  return { ca: identity.caPem, cert: identity.certPem, key: identity.keyPem, minVersion: "TLSv1.3" };
}

/** For calls to a manager as this node. After a renewal make new ones and open a new channel. */
export function clientCredentials(identity: TlsIdentity): ClientSecurity {
  return toManager(
    createSecureContext({
      ca: identity.caPem,
      cert: identity.certPem,
      key: identity.keyPem,
      minVersion: "TLSv1.3",
    }),
  );
}

/** For calls to a manager of the cluster with this root certificate, as nobody: how a node asks to join. */
export function anonymousCredentials(pin: { readonly caPem: string }): ClientSecurity {
  return toManager(createSecureContext({ ca: pin.caPem, minVersion: "TLSv1.3" }));
}

/** The other end is not checked at all. For one call only: fetching the root certificate, which `checkRoot` then checks. */
export function uncheckedCredentials(): ClientSecurity {
  const context = createSecureContext({ minVersion: "TLSv1.3" });
  return {
    credentials: ChannelCredentials.createFromSecureContext(context, { rejectUnauthorized: false }),
    options: SERVER_NAME,
  };
}

/** Managers are known by role and root, not by host name. A name is sent because TLS allows no address in its place. */
const SERVER_NAME: ChannelOptions = { "grpc.ssl_target_name_override": ROLE_UNITS.manager };

function toManager(context: ReturnType<typeof createSecureContext>): ClientSecurity {
  return {
    credentials: ChannelCredentials.createFromSecureContext(context, {
      checkServerIdentity: (_host, certificate) => managerProblem(certificate),
    }),
    options: SERVER_NAME,
  };
}

function managerProblem(certificate: PeerCertificate): Error | undefined {
  // Typed as always there, but a certificate may have no subject.
  const subject = certificate.subject as { readonly OU?: string | string[]; readonly CN?: string } | undefined;
  if (subject?.OU === ROLE_UNITS.manager) return undefined;
  return new Error(`its certificate (${subject?.CN ?? "without a name"}) is not that of a manager`);
}

/** "sha256:<hex>" of the certificate's DER. Throws InvalidArgument for what is no certificate. */
export function certificateDigest(pem: string): string {
  if (pem.length > PEM_LENGTH_MAX) throw new SwarmError("InvalidArgument", "the certificate is too long");
  let der: Uint8Array;
  try {
    der = new X509Certificate(pem).raw;
  } catch (error) {
    throw new SwarmError("InvalidArgument", `not a certificate: ${errorText(error)}`, { cause: error });
  }
  return `sha256:${createHash("sha256").update(der).digest("hex")}`;
}

/** Throws PermissionDenied unless this is the root certificate that the join token names. */
export function checkRoot(pem: string, expected: { readonly caDigest: string; readonly peer: string }): void {
  if (certificateDigest(pem) === expected.caDigest) return;
  throw new SwarmError(
    "PermissionDenied",
    `${expected.peer} belongs to another cluster than the join token: its root certificate has another digest. ` +
      "Check the address, or get the token of that cluster with `tsswarm swarm join-token worker` on one of its managers",
  );
}
