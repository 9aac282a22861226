// Who this node is in its cluster: its key and certificate, got by joining (or, on the first manager, from the root itself),
// kept on disk, and renewed while the daemon runs. It knows nothing of tasks.

import { Backoff } from "../proto/base/backoff.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, errorText, isSwarmError } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import { Notice } from "../proto/base/notice.ts";
import type { Random } from "../proto/base/random.ts";
import type { NodeRoleName, TlsIdentity } from "../proto/rpc/tls.ts";
import {
  type NodeFacts,
  type StoredIdentity,
  dropNextKey,
  factsOf,
  readIdentity,
  writeIdentity,
  writeNextKey,
} from "./identity-files.ts";
import { newKeyAndRequest } from "./identity-request.ts";

/** Renewal falls at a random point of this part of a certificate's life. */
const RENEW_FROM = 0.5;
const RENEW_TO = 0.8;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 300_000;
/** Longest single sleep: timers hold no more than 24 days, and a clock may be set while the daemon sleeps. */
const NAP_MS = 3_600_000;

export interface IssuedIdentity {
  readonly certPem: string;
  readonly caPem: string;
}

/** Has a request certified: by a manager over the network, or by the root on this machine. */
export type Issuer = (csrPem: string, signal: AbortSignal) => Promise<IssuedIdentity>;

export interface IdentityOptions {
  /** `<state>/node`. */
  readonly dir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class NodeIdentity {
  readonly #options: IdentityOptions;
  readonly #listeners: Set<() => void> = new Set();
  readonly #wake: Notice = new Notice();
  #stored: StoredIdentity;
  /** What the cluster last said this node is; undefined once a renewal has asked for it. */
  #expected: NodeRoleName | undefined;

  private constructor(options: IdentityOptions, stored: StoredIdentity) {
    this.#options = options;
    this.#stored = stored;
  }

  /** Undefined when this node is in no cluster. Throws FailedPrecondition when the files are damaged. */
  static async load(options: IdentityOptions): Promise<NodeIdentity | undefined> {
    const stored = await readIdentity(options.dir);
    return stored === undefined ? undefined : new NodeIdentity(options, stored);
  }

  /** A new identity. Throws FailedPrecondition when there is one already, and what the issuer throws; then nothing is kept. */
  static async create(
    options: IdentityOptions,
    issue: { readonly issuer: Issuer; readonly managers: readonly string[] },
    signal: AbortSignal,
  ): Promise<NodeIdentity> {
    if ((await readIdentity(options.dir)) !== undefined) {
      throw new SwarmError(
        "FailedPrecondition",
        "This node is already part of a swarm. Use `tsswarm swarm leave` to leave this swarm and join another one.",
      );
    }
    return new NodeIdentity(options, await obtain(options.dir, issue, signal));
  }

  get facts(): NodeFacts {
    return this.#stored.facts;
  }

  /** For serverCredentials and clientCredentials; another one after each renewal. */
  get tls(): TlsIdentity {
    return this.#stored.tls;
  }

  /** host:port of the managers it joined through. */
  get managers(): readonly string[] {
    return this.#stored.managers;
  }

  /** Calls `listener` after each renewal; the answer ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** What the cluster says this node is now. Where the certificate says otherwise, `run` renews it at once. */
  expectRole(role: NodeRoleName): void {
    this.#expected = role;
    if (role !== this.facts.role) this.#wake.raise();
  }

  /** Has a new key certified and takes it. On failure the old identity stays. */
  async renew(issuer: Issuer, signal: AbortSignal): Promise<void> {
    const before = this.#stored;
    // What is said from here on may be newer than the certificate that comes.
    this.#expected = undefined;
    const renewed = await obtain(this.#options.dir, { issuer, managers: before.managers, before }, signal);
    this.#stored = renewed;
    for (const listener of this.#listeners) listener();
  }

  /**
   * Renews for as long as the daemon runs, at a random point of each certificate's life and when the node's role changes.
   * Rejects with the signal's reason.
   */
  async run(issuer: Issuer, signal: AbortSignal): Promise<never> {
    const { clock, random, logger } = this.#options;
    const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    for (;;) {
      await this.#untilDue(renewalAt(this.facts, random), signal);
      const { role } = this.facts;
      for (let done = false; !done;) {
        try {
          await this.renew(issuer, signal);
          backoff.reset();
          done = true;
          logger.info("the node's certificate is renewed", { until: new Date(this.facts.expiresAtMs).toISOString() });
          if (this.facts.role !== role) logger.info("this node has another role now", { role: this.facts.role });
        } catch (error) {
          signal.throwIfAborted();
          if (!isSwarmError(error) && (error as NodeJS.ErrnoException).code === undefined) throw error;
          const level = clock.now() > this.facts.expiresAtMs ? "error" : "warn";
          logger[level]("cannot renew the node's certificate", {
            until: new Date(this.facts.expiresAtMs).toISOString(),
            error: errorText(error),
          });
          await clock.sleep(backoff.nextMs(), signal);
        }
      }
    }
  }

  /** Settles at a time of the clock, or as soon as another role is expected than the certificate has. */
  async #untilDue(atMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const leftMs = atMs - clock.now();
      if (leftMs <= 0 || (this.#expected !== undefined && this.#expected !== this.facts.role)) return;
      const cancel = clock.after(Math.min(leftMs, NAP_MS), () => this.#wake.raise());
      try {
        await this.#wake.wait(signal);
      } finally {
        cancel();
      }
    }
  }
}

/** When to renew: drawn anew for each certificate, so that nodes that joined together do not come together. */
export function renewalAt(facts: Pick<NodeFacts, "issuedAtMs" | "expiresAtMs">, random: Random): number {
  const part = RENEW_FROM + random.float() * (RENEW_TO - RENEW_FROM);
  return facts.issuedAtMs + (facts.expiresAtMs - facts.issuedAtMs) * part;
}

interface Wanted {
  readonly issuer: Issuer;
  readonly managers: readonly string[];
  /** Absent when the node is new. */
  readonly before?: StoredIdentity;
}

async function obtain(dir: string, wanted: Wanted, signal: AbortSignal): Promise<StoredIdentity> {
  const { keyPem, csrPem } = await newKeyAndRequest();
  await writeNextKey(dir, keyPem);
  let issued: IssuedIdentity;
  let facts: NodeFacts;
  try {
    issued = await wanted.issuer(csrPem, signal);
    facts = checked(issued, wanted.before);
  } catch (error) {
    await dropNextKey(dir);
    throw error;
  }
  const { certPem, caPem } = issued;
  const stored = { tls: { certPem, keyPem, caPem }, facts, managers: wanted.managers };
  await writeIdentity(dir, stored);
  return stored;
}

/** A renewal changes neither the node nor its cluster, whatever a manager answers. */
function checked(issued: IssuedIdentity, before: StoredIdentity | undefined): NodeFacts {
  let facts: NodeFacts;
  try {
    facts = factsOf(issued);
  } catch (error) {
    throw new SwarmError("Internal", `the manager sent a certificate that cannot be used: ${errorText(error)}`, {
      cause: error,
    });
  }
  const same =
    before === undefined ||
    (facts.nodeId === before.facts.nodeId &&
      facts.clusterId === before.facts.clusterId &&
      issued.caPem === before.tls.caPem);
  if (same) return facts;
  throw new SwarmError(
    "Internal",
    `the manager sent a certificate for node ${facts.nodeId} of another cluster or root`,
  );
}
