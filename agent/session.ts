// One session with one manager (SwarmKit's agent session): registers, beats, takes assignments, brings statuses. The first of
// these to fail ends the session, and the agent begins another, perhaps elsewhere. Tasks know nothing of it and go on.

import { abortable, withDeadline } from "../proto/base/abort.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import {
  AssignmentChange_Action,
  AssignmentsMessage_Type,
  type AssignmentsMessage,
  type DispatcherService,
  type SessionMessage,
} from "../proto/gen/dispatcher.ts";
import { NodeDescription } from "../proto/gen/objects.ts";
import { type WholeTask, wholeTask } from "../proto/model/objects.ts";
import type { Client } from "../proto/rpc/methods.ts";
import type { Reporter } from "./reporter.ts";
import type { Assignment, Worker } from "./worker.ts";

const ANSWER_MS_MAX = 5_000;
const DESCRIBE_EVERY_MS = 20_000;
/** A manager may not make its agents beat faster or slower than this. */
const BEAT_MS_MIN = 100;
const BEAT_MS_MAX = 600_000;
/** A beat that is not answered for two of its periods ends the session, but not sooner than this: a busy manager is not a lost one. */
const BEAT_ANSWER_MS_MIN = 2_000;

export interface SessionOptions {
  readonly client: Client<typeof DispatcherService>;
  /** Of a session to go on with; empty: a new one. */
  readonly sessionId: string;
  readonly describe: () => Promise<NodeDescription>;
  readonly worker: Pick<Worker, "assign">;
  readonly reporter: Reporter;
  readonly clock: Clock;
  /** How far apart (ms) the manager wants the beats, at each beat. */
  readonly onPace: (periodMs: number) => void;
  /** Each message of the session, the first included. */
  readonly onMessage: (message: SessionMessage) => Promise<void>;
}

/** The machine is not as it was described: register again, under this id. */
export interface Redescribe {
  readonly sessionId: string;
}

/** This manager does not lead: register at the one that does. */
export interface Redirect {
  /** host:port */
  readonly leaderAddr: string;
  /** host:port of every manager. */
  readonly managers: readonly string[];
}

export type SessionEnd = ({ readonly kind: "redescribe" } & Redescribe) | ({ readonly kind: "redirect" } & Redirect);

/** Runs until the machine's description changed or the manager names another. Rejects when the session is over in any other way. */
export async function runSession(options: SessionOptions, signal: AbortSignal): Promise<SessionEnd> {
  const group = new Group(signal);
  try {
    const description = await options.describe();
    const request = { description, sessionId: options.sessionId };
    const messages = options.client.session(request, { signal: group.signal })[Symbol.asyncIterator]();
    const first = await withDeadline(
      { clock: options.clock, ms: ANSWER_MS_MAX, what: "registering at the manager", parent: signal },
      (deadline) => abortable(messages.next(), deadline),
    );
    if (first.done === true) throw over("session");
    const { leaderAddr, managers, sessionId } = first.value;
    if (leaderAddr !== "") {
      await messages.return?.();
      return { kind: "redirect", leaderAddr, managers };
    }
    await options.onMessage(first.value);
    options.reporter.repeatAll();
    group.spawn(() => follow(options, messages));
    group.spawn((stop) => beat(options, sessionId, stop));
    group.spawn((stop) => takeAssignments(options, sessionId, stop));
    group.spawn((stop) =>
      options.reporter.run((updates, until) => report(options, { sessionId, updates }, until), stop),
    );
    group.spawn((stop) => watchDescription(options, { description, group }, stop));
    await group.join();
    signal.throwIfAborted();
    return { kind: "redescribe", sessionId };
  } finally {
    group.stop();
    await group.join();
  }
}

async function follow(options: SessionOptions, messages: AsyncIterator<SessionMessage>): Promise<void> {
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    await options.onMessage(next.value);
  }
  throw over("session");
}

async function beat(options: SessionOptions, sessionId: string, signal: AbortSignal): Promise<void> {
  let timeoutMs = ANSWER_MS_MAX;
  for (;;) {
    const { periodMs } = await options.client.heartbeat({ sessionId }, { signal, timeoutMs });
    const paceMs = Math.min(BEAT_MS_MAX, Math.max(BEAT_MS_MIN, periodMs));
    timeoutMs = Math.min(ANSWER_MS_MAX, Math.max(BEAT_ANSWER_MS_MIN, paceMs * 2));
    options.onPace(paceMs);
    await options.clock.sleep(paceMs, signal);
  }
}

async function report(
  options: SessionOptions,
  request: Parameters<Client<typeof DispatcherService>["updateTaskStatus"]>[0],
  signal: AbortSignal,
): Promise<void> {
  await options.client.updateTaskStatus(request, { signal });
}

async function takeAssignments(options: SessionOptions, sessionId: string, signal: AbortSignal): Promise<void> {
  /** Of the state that the last message led to. */
  let sequence: string | undefined;
  for await (const message of options.client.assignments({ sessionId }, { signal })) {
    await options.worker.assign(readAssignments(message, sequence));
    sequence = message.resultsIn;
  }
  throw over("stream of assignments");
}

/** Checks the message against the sequence and sorts its changes. Throws "OutOfSequence" when one was missed. */
export function readAssignments(message: AssignmentsMessage, sequence: string | undefined): Assignment {
  const complete = message.type === AssignmentsMessage_Type.COMPLETE;
  if (!complete && message.appliesTo !== sequence) {
    throw new SwarmError(
      "OutOfSequence",
      `assignments apply to state "${message.appliesTo}", but this node has ${sequence === undefined ? "none" : `"${sequence}"`}`,
    );
  }
  const updated: WholeTask[] = [];
  const removed: string[] = [];
  for (const { action, item } of message.changes) {
    if (item === undefined) continue;
    if (action === AssignmentChange_Action.REMOVE) removed.push(item.value.id);
    else updated.push(wholeTask(item.value));
  }
  return { complete, updated, removed };
}

async function watchDescription(
  options: SessionOptions,
  registered: { readonly description: NodeDescription; readonly group: Group },
  signal: AbortSignal,
): Promise<void> {
  const before = encoded(registered.description);
  for (;;) {
    await options.clock.sleep(DESCRIBE_EVERY_MS, signal);
    if (encoded(await options.describe()) === before) continue;
    registered.group.stop();
    return;
  }
}

function encoded(description: NodeDescription): string {
  return Buffer.from(NodeDescription.encode(description).finish()).toString("base64");
}

function over(what: string): SwarmError {
  return new SwarmError("Unavailable", `the manager ended the ${what}`);
}
