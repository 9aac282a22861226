// The two join tokens of a cluster: made with it, and recognised without telling by time how much of one was right.

import { createHash, timingSafeEqual } from "node:crypto";
import type { Random } from "../../proto/base/random.ts";
import { RootCa } from "../../proto/gen/objects.ts";
import { newJoinToken } from "../../proto/model/join-token.ts";
import type { NodeRoleName } from "../../proto/rpc/tls.ts";
import type { Root } from "./authority.ts";

/** The cluster's RootCa object for a new root, with fresh tokens. */
export function rootCaObject(root: Root, random: Random): RootCa {
  return {
    caKeyPem: Buffer.from(root.keyPem),
    caCertPem: Buffer.from(root.certPem),
    caDigest: root.caDigest,
    joinTokenWorker: newJoinToken(root.caDigest, random),
    joinTokenManager: newJoinToken(root.caDigest, random),
  };
}

/** The same with fresh tokens for the given roles; nodes that have joined are not touched by it. */
export function rotateTokens(rootCa: RootCa, roles: readonly NodeRoleName[], random: Random): RootCa {
  return {
    ...rootCa,
    ...(roles.includes("worker") && { joinTokenWorker: newJoinToken(rootCa.caDigest, random) }),
    ...(roles.includes("manager") && { joinTokenManager: newJoinToken(rootCa.caDigest, random) }),
  };
}

/** The role that the token gives; undefined when it is none of this cluster's. */
export function roleOfToken(token: string, rootCa: RootCa): NodeRoleName | undefined {
  const isManager = same(token, rootCa.joinTokenManager);
  const isWorker = same(token, rootCa.joinTokenWorker);
  return isManager ? "manager" : isWorker ? "worker" : undefined;
}

/** In a time that does not depend on where they differ. An absent token equals nothing. */
function same(given: string, token: string): boolean {
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(given), hash(token)) && token !== "";
}
