// A fresh key and the request to have it certified (PKCS #10, RFC 2986). The request says nothing but the key: who the node is,
// the cluster decides. Written out by hand: a library for certificates would stay in every worker's memory for these lines.

import { generateKeyPair, sign } from "node:crypto";
import { promisify } from "node:util";
import { assert } from "../proto/base/assert.ts";

/** DER tags. */
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const UTF8_STRING = 0x0c;
const SEQUENCE = 0x30;
const SET = 0x31;
const ATTRIBUTES = 0xa0;
/** Object identifiers, encoded. */
const COMMON_NAME = Buffer.from("0603550403", "hex");
const ECDSA_WITH_SHA256 = Buffer.from("06082a8648ce3d040302", "hex");
const PEM_LINE_LENGTH = 64;

export interface KeyAndRequest {
  readonly keyPem: string;
  readonly csrPem: string;
}

/** An ECDSA P-256 key (PKCS #8) and a request signed with it, both PEM. */
export async function newKeyAndRequest(): Promise<KeyAndRequest> {
  const { privateKey, publicKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from("tsswarm-node")))));
  const info = der(
    SEQUENCE,
    der(INTEGER, Buffer.of(0)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(ATTRIBUTES),
  );
  const signature = der(BIT_STRING, Buffer.of(0), sign("sha256", info, privateKey));
  const request = der(SEQUENCE, info, der(SEQUENCE, ECDSA_WITH_SHA256), signature);
  return {
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    csrPem: pem("CERTIFICATE REQUEST", request),
  };
}

/** One value with its tag and length; a request of ours is shorter than 64 KiB. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  assert(body.length <= 0xffff, "a certificate request is short");
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  if (body.length <= 0xff) return Buffer.concat([Buffer.of(tag, 0x81, body.length), body]);
  return Buffer.concat([Buffer.of(tag, 0x82, body.length >> 8, body.length & 0xff), body]);
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(new RegExp(`.{1,${PEM_LINE_LENGTH}}`, "g")) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
