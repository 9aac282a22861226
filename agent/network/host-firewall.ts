// The way through the host's own firewall: a drop in any base chain is final, so every forward chain that drops what it does not
// know gets rules of ours at its head, known again by their comment. Knows nothing of containers.

import { type NetworkWorker, nftables } from "../../native/index.ts";
import { MARK, PASS_RULES, TABLE, passMessages } from "./rules.ts";

const FAMILIES = [nftables.FAMILY.IPV4, nftables.FAMILY.INET] as const;
/** A rule of nothing but these ends the chain for every packet that comes so far. */
const UNCONDITIONAL: ReadonlySet<string> = new Set(["counter", "log", "immediate", "reject"]);
const VERDICT_DROP = 0;

export interface HostFirewallOptions {
  readonly worker: NetworkWorker;
  readonly bridge: string;
}

export class HostFirewall {
  readonly #worker: NetworkWorker;
  readonly #bridge: string;

  constructor(options: HostFirewallOptions) {
    this.#worker = options.worker;
    this.#bridge = options.bridge;
  }

  /** Puts our rules where they are needed and are not whole. The answer: in how many chains. */
  async pass(): Promise<number> {
    let changed = 0;
    for (const chain of await this.#forwardChains()) {
      const rules = await this.#rulesOf(chain);
      const ours = rules.filter((rule) => rule.comment === MARK);
      const needed = drops(chain, rules);
      if (ours.length === (needed ? PASS_RULES : 0)) continue;
      await this.#commit([
        ...ours.map((rule) => nftables.deleteRule(chain, rule.handle)),
        ...(needed ? passMessages(chain, this.#bridge) : []),
      ]);
      changed += 1;
    }
    return changed;
  }

  /** Takes our rules away again. */
  async withdraw(): Promise<void> {
    for (const chain of await this.#forwardChains()) {
      const ours = (await this.#rulesOf(chain)).filter((rule) => rule.comment === MARK);
      if (ours.length > 0) await this.#commit(ours.map((rule) => nftables.deleteRule(chain, rule.handle)));
    }
  }

  async #forwardChains(): Promise<readonly nftables.BaseChain[]> {
    const dumps = await this.#worker.run(
      FAMILIES.map((family) => ({ protocol: "nftables", messages: [nftables.dumpChains(family)] })),
    );
    return dumps
      .flatMap((messages) => nftables.baseChainsOf(messages))
      .filter((chain) => chain.hook === nftables.HOOK.FORWARD && chain.table !== TABLE.table);
  }

  async #rulesOf(chain: nftables.ChainName): Promise<readonly nftables.KnownRule[]> {
    const [messages = []] = await this.#worker.run([{ protocol: "nftables", messages: [nftables.dumpRules(chain)] }]);
    return nftables.rulesOf(messages);
  }

  async #commit(messages: Parameters<typeof nftables.batch>[0]): Promise<void> {
    await this.#worker.run([{ protocol: "nftables", messages: nftables.batch(messages) }]);
  }
}

/** By policy, as iptables, Docker and ufw do it, or by a last rule without a condition, as firewalld does it. */
function drops(chain: nftables.BaseChain, rules: readonly nftables.KnownRule[]): boolean {
  if (chain.policy === nftables.POLICY.DROP) return true;
  const last = rules.at(-1);
  if (last === undefined || !last.expressions.every((name) => UNCONDITIONAL.has(name))) return false;
  return last.verdict === VERDICT_DROP || last.expressions.includes("reject");
}
