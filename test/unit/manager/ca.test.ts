// The authority: what its certificates say, what it refuses to sign, and how tokens are told apart.

import assert from "node:assert/strict";
import { X509Certificate, generateKeyPairSync, webcrypto } from "node:crypto";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { parseJoinToken } from "../../../proto/model/join-token.ts";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import { Authority, createRoot } from "../../../manager/ca/authority.ts";
import { roleOfToken, rootCaObject, rotateTokens } from "../../../manager/ca/tokens.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const HOUR_MS = 3_600_000;
const clock = new ManualClock();
const random = seededRandom(3);
const root = await createRoot({ clock, random });
const authority = await Authority.open({ clock, random }, root);
const subject = {
  nodeId: "n".repeat(25),
  role: "worker",
  clusterId: "c".repeat(25),
  expiryMs: 90 * 24 * HOUR_MS,
} as const;

test("a node's certificate says who it is, in which role and cluster, and is good for both ends of a connection", async () => {
  const { keyPem, csrPem } = await newKeyAndRequest();
  const issued = await authority.issue(csrPem, subject);
  const certificate = new X509Certificate(issued.certPem);
  assert.equal(certificate.subject, `O=${subject.clusterId}\nOU=swarm-worker\nCN=${subject.nodeId}`);
  assert.equal(certificate.subjectAltName, `DNS:swarm-worker, DNS:${subject.nodeId}`);
  assert.deepEqual([...certificate.keyUsage].sort(), ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  assert.equal(certificate.ca, false);
  const rootCertificate = new X509Certificate(root.certPem);
  assert.ok(rootCertificate.ca && certificate.checkIssued(rootCertificate));
  assert.ok(certificate.verify(rootCertificate.publicKey));
  assert.ok(certificate.publicKey.asymmetricKeyDetails?.namedCurve === "prime256v1");
  assert.ok(!keyPem.includes(certificate.publicKey.export({ format: "pem", type: "spki" }).toString()));
  assert.equal(Date.parse(certificate.validFrom), clock.now() - HOUR_MS);
  assert.equal(Date.parse(certificate.validTo), clock.now() + subject.expiryMs);
  assert.equal(issued.notAfterMs, clock.now() + subject.expiryMs);
});

test("serial numbers differ", async () => {
  const { csrPem } = await newKeyAndRequest();
  const numbers = await Promise.all(
    [1, 2, 3].map(async () => new X509Certificate((await authority.issue(csrPem, subject)).certPem).serialNumber),
  );
  assert.equal(new Set(numbers).size, 3);
});

test("a certificate does not outlive the root", async () => {
  const { csrPem } = await newKeyAndRequest();
  const { certPem } = await authority.issue(csrPem, { ...subject, expiryMs: 100 * 365 * 24 * HOUR_MS });
  assert.equal(new X509Certificate(certPem).validTo, new X509Certificate(root.certPem).validTo);
});

test("requests that are none, changed, too long or with another kind of key are refused", async () => {
  const { csrPem } = await newKeyAndRequest();
  const der = Buffer.from(x509.PemConverter.decodeFirst(csrPem));
  der.writeUInt8(der.readUInt8(der.length - 3) ^ 1, der.length - 3);
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    hash: "SHA-256",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  const requestWith = async (
    keys: webcrypto.CryptoKeyPair,
    signingAlgorithm: webcrypto.EcdsaParams & { readonly hash: string },
  ): Promise<string> =>
    (
      await x509.Pkcs10CertificateRequestGenerator.create(
        { keys, signingAlgorithm: signingAlgorithm as never },
        webcrypto,
      )
    ).toString("pem");
  const p384 = { name: "ECDSA", namedCurve: "P-384" };
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /cannot be used/],
    ["-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", /cannot be used/],
    [x509.PemConverter.encode(der, "CERTIFICATE REQUEST"), /not signed by its own key/],
    [`${csrPem}${" ".repeat(9_000)}`, /longer than/],
    [
      await requestWith(await webcrypto.subtle.generateKey(algorithm, false, ["sign", "verify"]), algorithm),
      /only ECDSA P-256/,
    ],
    [
      await requestWith(await webcrypto.subtle.generateKey(p384, false, ["sign", "verify"]), {
        name: "ECDSA",
        hash: "SHA-384",
      }),
      /only ECDSA P-256/,
    ],
    [
      generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "pem", type: "spki" }).toString(),
      /cannot be used/,
    ],
  ];
  for (const [request, message] of cases) {
    await assert.rejects(
      authority.issue(request, subject),
      (error) => isSwarmError(error, "InvalidArgument") && message.test(error.message),
      request.slice(0, 60),
    );
  }
});

test("tokens give the role they were made for, until they are rotated", () => {
  const rootCa = rootCaObject(root, random);
  assert.equal(parseJoinToken(rootCa.joinTokenWorker).caDigest, root.caDigest);
  assert.equal(roleOfToken(rootCa.joinTokenWorker, rootCa), "worker");
  assert.equal(roleOfToken(rootCa.joinTokenManager, rootCa), "manager");
  assert.equal(roleOfToken("", { ...rootCa, joinTokenWorker: "" }), undefined);
  assert.equal(roleOfToken(`${rootCa.joinTokenWorker}x`, rootCa), undefined);
  const rotated = rotateTokens(rootCa, ["worker"], random);
  assert.equal(roleOfToken(rootCa.joinTokenWorker, rotated), undefined);
  assert.equal(roleOfToken(rotated.joinTokenWorker, rotated), "worker");
  assert.equal(rotated.joinTokenManager, rootCa.joinTokenManager);
});
