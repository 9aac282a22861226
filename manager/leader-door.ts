// A service that the leader alone answers, on every manager: here when this one leads, otherwise at the leader in the name of the
// caller. A call that certainly changed nothing is made again while a new leader is found; one that may have is reported.

import { childOf } from "../proto/base/abort.ts";
import { SwarmError, errorText, isSwarmError } from "../proto/base/errors.ts";
import type { CallContext } from "../proto/rpc/caller.ts";
import type { CallOptions, Client, Handlers, Service } from "../proto/rpc/methods.ts";
import type { Found, Leadership } from "./leadership.ts";
import type { Leading } from "./leading.ts";
import type { ManagerLink, Peers } from "./peers.ts";
import type { Member } from "./replication/membership.ts";
import { isNotTaken, notTaken } from "./store/not-taken.ts";

export interface LeaderDoorOptions<S extends Service> {
  readonly service: S;
  readonly leadership: Leadership;
  readonly peers: Peers;
  readonly local: (leading: Leading) => Handlers<S>;
  /** Throws for who may not speak here, before the leader answers. */
  readonly admit: (context: CallContext) => void;
  /** Calls that do no harm when they are made twice. */
  readonly repeatable: readonly (keyof S)[];
}

/** Longest wait for a connection to the leader; then it is looked for again. */
const CONNECT_MS = 1_000;
/** How long an answer is still waited for when the manager that was asked no longer leads. */
const LATE_ANSWER_MS = 1_000;

type Call = (input: unknown, options: CallOptions) => unknown;
type Handler = (input: unknown, context: CallContext) => unknown;

export function leaderDoor<S extends Service>(options: LeaderDoorOptions<S>): Handlers<S> {
  const door = new LeaderDoor(options);
  const entries = Object.entries(options.service).map(([name, method]) => [
    name,
    method.requestStream || method.responseStream
      ? (input: unknown, context: CallContext) => door.stream(name, input, context)
      : (input: unknown, context: CallContext) => door.unary(name, input, context),
  ]);
  return Object.fromEntries(entries) as Handlers<S>;
}

class LeaderDoor<S extends Service> {
  readonly #options: LeaderDoorOptions<S>;

  constructor(options: LeaderDoorOptions<S>) {
    this.#options = options;
  }

  async unary(name: string, request: unknown, context: CallContext): Promise<unknown> {
    const patience = this.#options.leadership.patience();
    for (;;) {
      const found = this.#here(context) ?? (await patience.find(context.signal));
      try {
        if (found.kind === "here") return await this.#handler(name, found.leading)(request, context);
        return await this.#ask(name, { request, context, member: found.member });
      } catch (error) {
        await this.#afterFailure(error, { name, context, patience });
      }
    }
  }

  /** Before its first message a stream is like a call; after it, it ends with the leadership of who answers. */
  async *stream(name: string, input: unknown, context: CallContext): AsyncGenerator {
    const patience = this.#options.leadership.patience();
    for (;;) {
      const found = this.#here(context) ?? (await patience.find(context.signal));
      let begun = false;
      try {
        for await (const message of this.#messages(name, { input, context, found })) {
          begun = true;
          yield message;
        }
        return;
      } catch (error) {
        const usedUp = begun || (this.#options.service[name]?.requestStream === true && !isNotTaken(error));
        if (usedUp) throw error;
        await this.#afterFailure(error, { name, context, patience });
      }
    }
  }

  /** Where a call that another manager passed on is answered: here or not at all. */
  #here(context: CallContext): Found | undefined {
    if (context.forwardedBy === undefined) return undefined;
    const { leading } = this.#options.leadership;
    if (leading !== undefined) return { kind: "here", leading };
    throw new SwarmError("NotLeader", "this manager does not lead");
  }

  /** Settles when the call may be made again; throws what the caller is told otherwise. */
  async #afterFailure(
    error: unknown,
    call: {
      readonly name: string;
      readonly context: CallContext;
      readonly patience: ReturnType<Leadership["patience"]>;
    },
  ): Promise<void> {
    const { context, name, patience } = call;
    const safe = isNotTaken(error) || (this.#isRepeatable(name) && isSwarmError(error, "Unavailable"));
    if (context.signal.aborted || !safe) throw error;
    if (context.forwardedBy !== undefined) throw new SwarmError("NotLeader", errorText(error), { cause: error });
    await patience.afterFailure(isSwarmError(error, "NotLeader") ? this.#refusal(error) : error, context.signal);
  }

  /** What the caller is told when patience ends with this: a leader that takes nothing is not the same as none. */
  #refusal(error: SwarmError): SwarmError {
    const where = this.#options.leadership.where();
    if (where.kind !== "there") return this.#options.leadership.problem();
    const message = `the leader at ${where.member.addr} does not take the call: ${errorText(error)}`;
    return new SwarmError("Unavailable", message, { cause: error });
  }

  async #ask(
    name: string,
    call: { readonly request: unknown; readonly context: CallContext; readonly member: Member },
  ): Promise<unknown> {
    const { context, member, request } = call;
    const link = await this.#reach(member, context.signal);
    const leads = this.#options.leadership.whileLeads(member, { parent: context.signal, graceMs: LATE_ANSWER_MS });
    try {
      return await this.#client(name, link)(request, { signal: leads.signal, forwardedFor: context.caller });
    } catch (error) {
      throw leads.signal.aborted || isLostConnection(error) ? this.#lost(name, { context, error }) : error;
    } finally {
      leads.release();
    }
  }

  async *#messages(
    name: string,
    call: { readonly input: unknown; readonly context: CallContext; readonly found: Found },
  ): AsyncGenerator {
    const { context, found, input } = call;
    if (found.kind === "here") {
      const child = childOf(context.signal);
      const end = (): void => child.abort(found.leading.signal.reason);
      if (found.leading.signal.aborted) end();
      else found.leading.signal.addEventListener("abort", end, { once: true });
      try {
        const handler = this.#handler(name, found.leading);
        yield* handler(input, { ...context, signal: child.signal }) as AsyncIterable<unknown>;
      } finally {
        found.leading.signal.removeEventListener("abort", end);
        child.release();
      }
      return;
    }
    const link = await this.#reach(found.member, context.signal);
    const { leadership } = this.#options;
    const leads = leadership.whileLeads(found.member, { parent: context.signal, graceMs: LATE_ANSWER_MS });
    try {
      const options = { signal: leads.signal, forwardedFor: context.caller };
      yield* this.#client(name, link)(input, options) as AsyncIterable<unknown>;
    } catch (error) {
      throw !context.signal.aborted && (leads.signal.aborted || isLostConnection(error)) ? streamLost(error) : error;
    } finally {
      leads.release();
    }
  }

  /** A connection over which a call would arrive: what fails before that has changed nothing. */
  async #reach(member: Member, parent: AbortSignal): Promise<ManagerLink> {
    const link = this.#options.peers.to(member.addr);
    const leads = this.#options.leadership.whileLeads(member, { parent, graceMs: 0 });
    try {
      await link.ready({ timeoutMs: CONNECT_MS, signal: leads.signal });
      return link;
    } catch (error) {
      if (parent.aborted) throw error;
      throw notTaken(`the leader at ${member.addr} cannot be reached: ${errorText(error)}`, error);
    } finally {
      leads.release();
    }
  }

  #lost(name: string, failure: { readonly context: CallContext; readonly error: unknown }): unknown {
    const { context, error } = failure;
    if (context.signal.aborted) return error;
    if (this.#isRepeatable(name))
      return new SwarmError("Unavailable", `the connection to the leader was lost: ${errorText(error)}`, {
        cause: error,
      });
    return new SwarmError(
      "Internal",
      "the change may or may not have been made: the connection to the leader was lost; look before trying again",
      { cause: error },
    );
  }

  #isRepeatable(name: string): boolean {
    return this.#options.repeatable.includes(name);
  }

  #handler(name: string, leading: Leading): Handler {
    const { admit, local } = this.#options;
    const handler = local(leading)[name] as unknown as Handler;
    return (input, context) => {
      admit(context);
      return handler(input, context);
    };
  }

  #client(name: string, link: ManagerLink): Call {
    const client: Client<S> = link.client(this.#options.service);
    return client[name] as unknown as Call;
  }
}

/** The other end said nothing: what came of the call is not known. Errors that it did send have no cause here. */
function isLostConnection(error: unknown): boolean {
  return isSwarmError(error, "Unavailable", "Cancelled", "Internal") && error.cause !== undefined;
}

function streamLost(cause: unknown): SwarmError {
  return new SwarmError("Unavailable", "the manager that answered is gone or no longer leads; try again", { cause });
}
