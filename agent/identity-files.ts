// A node's identity on disk: key, certificate, root and facts, in `<state>/node/`. Files are replaced whole and synced. A new
// key waits in a file of its own until its certificate is there, so that at every moment one key fits the certificate.

import { X509Certificate, createPrivateKey } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import { DEFAULTS } from "../proto/model/defaults.ts";
import { type NodeRoleName, ROLE_UNITS, type TlsIdentity } from "../proto/rpc/tls.ts";

const KEY = "key.pem";
const NEXT_KEY = "key.next.pem";
const CERT = "cert.pem";
const CA = "ca.pem";
const FACTS = "node.json";
const MANAGERS_MAX = 64;

/** Who this node is, as its certificate says. */
export interface NodeFacts {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly role: NodeRoleName;
  /** When the certificate was made, and when it ends. */
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

export interface StoredIdentity {
  readonly tls: TlsIdentity;
  readonly facts: NodeFacts;
  /** host:port of managers that the node joined through, for the first contact. */
  readonly managers: readonly string[];
}

/** Undefined when the node is in no cluster. Throws FailedPrecondition when the files are damaged. */
export async function readIdentity(dir: string): Promise<StoredIdentity | undefined> {
  const certPem = await readText(join(dir, CERT));
  if (certPem === undefined) return undefined;
  try {
    const caPem = await readText(join(dir, CA));
    if (caPem === undefined) throw new Error(`${CA} is missing`);
    const keyPem = await fittingKey(dir, certPem);
    const facts = factsOf({ certPem, caPem });
    return { tls: { certPem, keyPem, caPem }, facts, managers: readManagers(await readText(join(dir, FACTS))) };
  } catch (error) {
    throw new SwarmError(
      "FailedPrecondition",
      `this node's identity in ${dir} cannot be used: ${errorText(error)}. Restore the folder, or run \`tsswarm swarm leave --force\` and join again`,
      { cause: error },
    );
  }
}

/** Keeps a key for a certificate that is being asked for. It never leaves the machine. */
export async function writeNextKey(dir: string, keyPem: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await replaceFile(dir, { name: NEXT_KEY, text: keyPem });
}

/** Takes what was issued for the waiting key; the certificate comes last, and with it the node is in the cluster. */
export async function writeIdentity(dir: string, identity: StoredIdentity): Promise<void> {
  const { nodeId, clusterId, role } = identity.facts;
  const facts = { nodeId, clusterId, role, managers: identity.managers };
  await replaceFile(dir, { name: CA, text: identity.tls.caPem });
  await replaceFile(dir, { name: FACTS, text: `${JSON.stringify(facts, null, 2)}\n` });
  await replaceFile(dir, { name: CERT, text: identity.tls.certPem });
  await promoteKey(dir);
}

/** Forgets a waiting key that was not certified. */
export async function dropNextKey(dir: string): Promise<void> {
  await rm(join(dir, NEXT_KEY), { force: true });
}

/** The node is in no cluster afterwards. The certificate goes first: without it the rest means nothing. */
export async function removeIdentity(dir: string): Promise<void> {
  for (const name of [CERT, KEY, NEXT_KEY, CA, FACTS]) await rm(join(dir, name), { force: true });
}

/** Throws for a certificate that is not one of a node, or not of this root. */
export function factsOf(pem: { readonly certPem: string; readonly caPem: string }): NodeFacts {
  const certificate = new X509Certificate(pem.certPem);
  const root = new X509Certificate(pem.caPem);
  if (!certificate.verify(root.publicKey)) throw new Error("the certificate is not signed by the cluster's root");
  const subject = new Map(certificate.subject.split("\n").map((line) => splitOnce(line)));
  const unit = subject.get("OU");
  const role = unit === ROLE_UNITS.manager ? "manager" : unit === ROLE_UNITS.worker ? "worker" : undefined;
  const nodeId = subject.get("CN");
  const clusterId = subject.get("O");
  if (role === undefined || nodeId === undefined || clusterId === undefined)
    throw new Error("the certificate does not say which node of which cluster it is for, and its role");
  return {
    nodeId,
    clusterId,
    role,
    issuedAtMs: Date.parse(certificate.validFrom) + DEFAULTS.certBackdateMs,
    expiresAtMs: Date.parse(certificate.validTo),
  };
}

/** The key in use, or the waiting one where a crash came between its certificate and its renaming. */
async function fittingKey(dir: string, certPem: string): Promise<string> {
  const certificate = new X509Certificate(certPem);
  for (const name of [KEY, NEXT_KEY]) {
    const keyPem = await readText(join(dir, name));
    if (keyPem === undefined || !certificate.checkPrivateKey(createPrivateKey(keyPem))) continue;
    // The next renewal writes a waiting key of its own, and must not take this one away.
    if (name === NEXT_KEY) await promoteKey(dir);
    return keyPem;
  }
  throw new Error(`no key in it belongs to ${CERT}`);
}

async function promoteKey(dir: string): Promise<void> {
  await rename(join(dir, NEXT_KEY), join(dir, KEY));
  await syncFolder(dir);
}

function readManagers(text: string | undefined): readonly string[] {
  const facts: unknown = JSON.parse(text ?? "{}");
  const list: unknown = typeof facts === "object" && facts !== null && "managers" in facts ? facts.managers : [];
  return Array.isArray(list) ? list.filter((item) => typeof item === "string").slice(0, MANAGERS_MAX) : [];
}

function splitOnce(line: string): readonly [string, string] {
  const at = line.indexOf("=");
  return [line.slice(0, at), line.slice(at + 1)];
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function replaceFile(
  dir: string,
  { name, text }: { readonly name: string; readonly text: string },
): Promise<void> {
  const draft = join(dir, `${name}.tmp`);
  // One left by a crash may be of another mode.
  await rm(draft, { force: true });
  await withFile(await open(draft, "wx", 0o600), async (file) => {
    await file.writeFile(text);
    await file.sync();
  });
  await rename(draft, join(dir, name));
  await syncFolder(dir);
}

async function syncFolder(dir: string): Promise<void> {
  await withFile(await open(dir, "r"), (folder) => folder.sync());
}

async function withFile(file: FileHandle, action: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await action(file);
  } finally {
    await file.close();
  }
}
