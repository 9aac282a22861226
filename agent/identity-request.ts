// A fresh key and the request to have it certified. The request says nothing but the key: who the node is, the cluster decides.

import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;

export interface KeyAndRequest {
  readonly keyPem: string;
  readonly csrPem: string;
}

/** An ECDSA P-256 key (PKCS #8) and a request signed with it, both PEM. */
export async function newKeyAndRequest(): Promise<KeyAndRequest> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { name: "CN=tsswarm-node", keys, signingAlgorithm: { name: "ECDSA", hash: "SHA-256" } },
    webcrypto,
  );
  const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { keyPem: x509.PemConverter.encode(key, "PRIVATE KEY"), csrPem: request.toString("pem") };
}
