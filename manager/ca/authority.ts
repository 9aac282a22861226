// The cluster's certificate authority: its root, and node certificates signed with it. It decides nothing: who gets a
// certificate, and in which role, is serve.ts's. Certificates follow SwarmKit (ca/certificates.go): CN node id, OU role, O cluster.

import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import { type NodeRoleName, ROLE_UNITS, certificateDigest } from "../../proto/rpc/tls.ts";

const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
const ROOT_LIFE_MS = 20 * 365 * 86_400_000;
const SERIAL_BYTES = 16;
/** In characters of PEM; a request with a P-256 key has about 450. */
export const CSR_LENGTH_MAX = 8_192;

/** PEM; the digest is "sha256:<hex>" of the certificate's DER. */
export interface Root {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caDigest: string;
}

export interface CertificateSubject {
  readonly nodeId: string;
  readonly role: NodeRoleName;
  readonly clusterId: string;
  /** Life from now on. */
  readonly expiryMs: number;
}

export interface IssuedCertificate {
  readonly certPem: string;
  readonly notAfterMs: number;
}

export interface CaSources {
  readonly clock: Clock;
  readonly random: Random;
}

/** A new root for a new cluster. */
export async function createRoot({ clock, random }: CaSources): Promise<Root> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
  const now = clock.now();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(random),
      name: "CN=swarm-ca",
      notBefore: new Date(now - DEFAULTS.certBackdateMs),
      notAfter: new Date(now + ROOT_LIFE_MS),
      signingAlgorithm: SIGNATURE,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  const certPem = certificate.toString("pem");
  return { keyPem: x509.PemConverter.encode(key, "PRIVATE KEY"), certPem, caDigest: certificateDigest(certPem) };
}

/** Signs for nodes with a root. */
export class Authority {
  readonly #sources: CaSources;
  readonly #root: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(sources: CaSources, root: { certificate: x509.X509Certificate; key: webcrypto.CryptoKey }) {
    this.#sources = sources;
    this.#root = root.certificate;
    this.#key = root.key;
  }

  static async open(
    sources: CaSources,
    root: { readonly keyPem: string; readonly certPem: string },
  ): Promise<Authority> {
    const key = await webcrypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(root.keyPem), CURVE, false, [
      "sign",
    ]);
    return new Authority(sources, { certificate: new x509.X509Certificate(root.certPem), key });
  }

  /**
   * A certificate for the key in a signing request; nothing else of the request is used. Throws InvalidArgument for a
   * request that is none, is not signed by its own key, or has a key other than ECDSA P-256.
   */
  async issue(csrPem: string, subject: CertificateSubject): Promise<IssuedCertificate> {
    const publicKey = await requestedKey(csrPem);
    const { clock, random } = this.#sources;
    const now = clock.now();
    const unit = ROLE_UNITS[subject.role];
    const notAfterMs = Math.min(now + subject.expiryMs, this.#root.notAfter.getTime());
    const { KeyUsageFlags } = x509;
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serial(random),
        subject: [{ O: [subject.clusterId] }, { OU: [unit] }, { CN: [subject.nodeId] }],
        issuer: this.#root.subjectName,
        notBefore: new Date(now - DEFAULTS.certBackdateMs),
        notAfter: new Date(notAfterMs),
        publicKey,
        signingKey: this.#key,
        signingAlgorithm: SIGNATURE,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          new x509.SubjectAlternativeNameExtension([
            { type: "dns", value: unit },
            { type: "dns", value: subject.nodeId },
          ]),
          await x509.SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
          await x509.AuthorityKeyIdentifierExtension.create(this.#root.publicKey, false, webcrypto),
        ],
      },
      webcrypto,
    );
    return { certPem: certificate.toString("pem"), notAfterMs: certificate.notAfter.getTime() };
  }
}

async function requestedKey(csrPem: string): Promise<x509.PublicKey> {
  if (csrPem.length > CSR_LENGTH_MAX) throw badRequest(`it is longer than ${CSR_LENGTH_MAX} characters`);
  let request: x509.Pkcs10CertificateRequest;
  let signed: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(csrPem);
    const algorithm = request.publicKey.algorithm as { readonly name: string; readonly namedCurve?: string };
    if (algorithm.name !== CURVE.name || algorithm.namedCurve !== CURVE.namedCurve)
      throw badRequest(`its key is ${algorithm.name} ${algorithm.namedCurve ?? ""}, and only ECDSA P-256 is taken`);
    signed = await request.verify(webcrypto);
  } catch (error) {
    if (error instanceof SwarmError) throw error;
    throw badRequest(errorText(error));
  }
  if (!signed) throw badRequest("it is not signed by its own key");
  return request.publicKey;
}

function badRequest(detail: string): SwarmError {
  return new SwarmError("InvalidArgument", `the certificate signing request cannot be used: ${detail}`);
}

/** Positive and of full length, as hex. */
function serial(random: Random): string {
  const bytes = Buffer.from(random.bytes(SERIAL_BYTES));
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0);
  return bytes.toString("hex");
}
