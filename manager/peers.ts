// Connections from this manager to the others, one per address, opened when first needed. It knows no call and no leader.

import type { Client, Service } from "../proto/rpc/methods.ts";

/** A connection to one manager. */
export interface ManagerLink {
  client<S extends Service>(service: S): Client<S>;
  /** Settles when a call would reach the other end; rejects with a SwarmError when that takes longer, or the signal's reason. */
  ready(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void>;
  close(): void;
}

/** Connections that are kept; there are at most a handful of managers. */
const LINKS_MAX = 32;

export class Peers {
  readonly #connect: (addr: string) => ManagerLink;
  /** By address, the one used last at the end. */
  readonly #links = new Map<string, ManagerLink>();

  constructor(connect: (addr: string) => ManagerLink) {
    this.#connect = connect;
  }

  to(addr: string): ManagerLink {
    const link = this.#links.get(addr) ?? this.#connect(addr);
    this.#links.delete(addr);
    this.#links.set(addr, link);
    for (const [oldest, each] of this.#links) {
      if (this.#links.size <= LINKS_MAX) break;
      this.#links.delete(oldest);
      each.close();
    }
    return link;
  }

  /** Later calls go over new connections; those under way end with the old ones when they are done. */
  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }
}
