// The commands of scenarios: reads their arguments, acts on the scenario, returns what they print.
// The conformance data uses the first group; restart, read-index and those around them are this project's own.

import type { ConfChange, ConfState } from "../../../manager/raft/index.ts";
import { type Command, parseCommands } from "./datadriven.ts";
import { EMPTY_START, type NodeOptions, type Recipient, Scenario } from "./scenario.ts";
import type { ScenarioNode } from "./scenario-node.ts";
import { messageTypeOf, messageWords, parseChanges, progressWords, roleWord } from "./words.ts";

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const utf8 = new TextEncoder();

/** Runs one command. Its output; "ok" where it has none. */
export function runCommand(scenario: Scenario, command: Command): string {
  const { output } = scenario;
  output.take();
  const levelBefore = output.level;
  const level = command.name === "stabilize" ? value(command, "log-level") : undefined;
  if (level !== undefined) output.setLevel(level);
  const failure = runAll(scenario, command);
  const isQuiet = output.isQuiet;
  if (level !== undefined) output.restoreLevel(levelBefore);
  const text = output.take();
  if (failure !== null) return isQuiet ? failure : `${text}${failure}`;
  return text === "" ? "ok" : text;
}

/** Runs a command, and further ones where its input holds them, one a line. How it was refused; null where it was not. */
function runAll(scenario: Scenario, command: Command): string | null {
  const failure = runOne(scenario, command);
  if (failure !== null || TAKES_INPUT.has(command.name)) return failure;
  for (const line of command.input.split("\n").filter((each) => each.trim() !== "")) {
    const [next] = parseCommands(`${line}\n----\n`, `the input of ${command.name}`);
    const refused = next === undefined ? null : runOne(scenario, next);
    if (refused !== null && scenario.output.isQuiet) return refused;
    scenario.output.write(refused ?? "");
  }
  return null;
}

function runOne(scenario: Scenario, command: Command): string | null {
  const action = ACTIONS[command.name];
  if (action === undefined) return "unknown command";
  const result = action(scenario, command);
  return typeof result === "string" ? result : null;
}

/** Commands whose input is their own; any other one's is further commands. */
const TAKES_INPUT = new Set(["propose-conf-change", "propose-batch"]);

/** What a command returns is how it was refused; most return nothing. */
type Action = (scenario: Scenario, command: Command) => unknown;

const ACTIONS: Readonly<Record<string, Action>> = {
  // A place to halt at with a debugger.
  _breakpoint: () => null,
  "add-nodes": addNodes,
  campaign: (s, c) => s.report(firstNode(s, c).raw.campaign()),
  compact: (s, c) => {
    const node = firstNode(s, c);
    node.compact(Number(c.args[1]?.key));
    s.printLog(node);
  },
  "deliver-msgs": deliver,
  "process-ready": (s, c) => eachNode(s, c, { title: "handling Ready", act: (node) => s.processReady(node) }),
  "process-append-thread": (s, c) =>
    eachNode(s, c, { title: "processing append thread", act: (node) => s.processAppendThread(node) }),
  "process-apply-thread": (s, c) =>
    eachNode(s, c, { title: "processing apply thread", act: (node) => s.processApplyThread(node) }),
  "log-level": (s, c) => void s.output.setLevel(c.args[0]?.key ?? ""),
  "raft-log": (s, c) => s.printLog(firstNode(s, c)),
  "raft-state": (s) => printStates(s),
  "set-randomized-election-timeout": (s, c) => firstNode(s, c).raw.setElectionTimeout(Number(value(c, "timeout"))),
  stabilize: (s, c) => s.stabilize(bareNodes(s, c)),
  status: (s, c) => printStatus(s, firstNode(s, c)),
  "tick-election": (s, c) => tick(firstNode(s, c), firstNode(s, c).config.electionTicks),
  "tick-heartbeat": (s, c) => tick(firstNode(s, c), firstNode(s, c).config.heartbeatTicks),
  "transfer-leadership": (s, c) => s.node(Number(value(c, "from"))).raw.transferLeader(Number(value(c, "to"))),
  "forget-leader": (s, c) => firstNode(s, c).raw.forgetLeader(),
  "send-snapshot": sendSnapshot,
  propose: (s, c) => refusal(firstNode(s, c).raw.propose([utf8.encode(c.args[1]?.key ?? "")])),
  "propose-conf-change": proposeConfChange,
  "report-unreachable": (s, c) => firstNode(s, c).raw.reportUnreachable(Number(c.args[1]?.key)),
  "report-snapshot": (s, c) => firstNode(s, c).raw.reportSnapshot(Number(c.args[1]?.key), value(c, "ok") !== "false"),
  "propose-batch": (s, c) => refusal(firstNode(s, c).raw.propose(c.input.split("\n").map((line) => utf8.encode(line)))),
  wipe: (s, c) => firstNode(s, c).wipe(),
  restart: (s, c) => firstNode(s, c).restart(),
  "read-index": (s, c) => s.report(firstNode(s, c).raw.readIndex(utf8.encode(c.args[1]?.key ?? ""))),
  "duplicate-msgs": (s, c) => {
    const to = Number(c.args[0]?.key);
    s.messages = s.messages.flatMap((m) => (m.to === to ? [m, m] : [m]));
  },
  "pin-snapshot": (s, c) => firstNode(s, c).pinSnapshot(true),
  "unpin-snapshot": (s, c) => firstNode(s, c).pinSnapshot(false),
  "report-states": (s, c) => s.output.write(`${firstNode(s, c).stateText()}\n`),
  "reverse-msgs": (s, c) => {
    const to = Number(c.args[0]?.key);
    const mine = s.messages.filter((m) => m.to === to).reverse();
    s.messages = [...s.messages.filter((m) => m.to !== to), ...mine];
  },
};

function value(command: Command, key: string): string | undefined {
  return command.args.find((arg) => arg.key === key)?.values[0];
}

function firstNode(scenario: Scenario, command: Command): ScenarioNode {
  return scenario.node(Number(command.args[0]?.key));
}

/** The nodes named by bare numbers; all where none is. */
function bareNodes(scenario: Scenario, command: Command): readonly ScenarioNode[] {
  const named = command.args.filter((arg) => arg.values.length === 0).map((arg) => scenario.node(Number(arg.key)));
  return named.length === 0 ? scenario.nodes : named;
}

function eachNode(
  scenario: Scenario,
  command: Command,
  work: { readonly title: string; readonly act: (node: ScenarioNode) => void },
): void {
  const nodes = bareNodes(scenario, command);
  for (const node of nodes) {
    if (nodes.length === 1) {
      work.act(node);
      continue;
    }
    scenario.output.write(`> ${node.id} ${work.title}\n`);
    scenario.output.indented(() => work.act(node));
  }
}

function tick(node: ScenarioNode, count: number): void {
  for (let i = 0; i < count; i++) node.raw.tick();
}

function addNodes(scenario: Scenario, command: Command): string | null {
  const options: Writable<NodeOptions> = {};
  const conf: { voters: number[]; learners: number[] } = { voters: [], learners: [] };
  let index = 0;
  let data = new Uint8Array(0);
  for (const { key, values } of command.args.slice(1)) {
    const [first = ""] = values;
    const isTrue = first === "true";
    if (key === "voters") conf.voters.push(...values.map(Number));
    else if (key === "learners") conf.learners.push(...values.map(Number));
    else if (key === "index") index = Number(first);
    else if (key === "content") data = utf8.encode(first);
    else if (key === "inflight") options.maxInflightMessages = Number(first);
    else if (key === "inflight-bytes") options.maxInflightBytes = Number(first);
    else if (key === "max-size-per-msg") options.maxMessageBytes = Number(first);
    else if (key === "max-uncommitted-size") options.maxUncommittedBytes = Number(first);
    else if (key === "max-committed-size-per-ready") options.maxApplyingBytes = Number(first);
    else if (key === "max-pending-reads") options.maxPendingReads = Number(first);
    else if (key === "async-storage-writes") options.asyncStorageWrites = isTrue;
    else if (key === "prevote") options.preVote = isTrue;
    else if (key === "checkquorum") options.checkQuorum = isTrue;
    else if (key === "disable-conf-change-validation") options.disableConfChangeValidation = isTrue;
    else if (key === "disable-proposal-forwarding") options.disableProposalForwarding = isTrue;
    else if (key === "step-down-on-removal") options.stepDownOnRemoval = isTrue;
    else if (key === "read-only" && ["safe", "lease-based"].includes(first))
      options.refuseForgetLeader = first === "lease-based";
    else if (key === "read-only") return `invalid read-only option "${first}"`;
    else throw new Error(`unknown argument ${key} of add-nodes`);
  }
  const state: ConfState = { ...EMPTY_START.conf, ...conf };
  const isEmpty = index === 0 && data.length === 0 && conf.voters.length + conf.learners.length === 0;
  if (!isEmpty && index <= 1) return "index must be specified as > 1 due to bootstrap";
  const start = isEmpty ? EMPTY_START : { index, term: 1, conf: state, data };
  scenario.addNodes(Number(command.args[0]?.key), { start, options });
  return null;
}

function deliver(scenario: Scenario, command: Command): void {
  const recipients: Recipient[] = [];
  let type = null;
  for (const { key, values } of command.args) {
    if (values.length === 0) recipients.push({ id: Number(key), drop: false });
    else if (key === "drop") recipients.push(...values.map((id) => ({ id: Number(id), drop: true })));
    else if (key === "type") type = messageTypeOf(values[0] ?? "") ?? null;
  }
  if (scenario.deliver(recipients, type) === 0) scenario.output.write("no messages\n");
}

function printStates(scenario: Scenario): void {
  for (const node of scenario.nodes) {
    const { id, role, isVoter, hard, leader } = node.raw.status();
    const vote = isVoter ? "(Voter)" : "(Non-Voter)";
    scenario.output.write(`${id}: ${roleWord(role)} ${vote} Term:${hard.term} Lead:${leader}\n`);
  }
}

function printStatus(scenario: Scenario, node: ScenarioNode): void {
  const progress = [...node.raw.status().progress].sort(([a], [b]) => a - b);
  for (const [id, view] of progress) scenario.output.write(`${id}: ${progressWords(view)}\n`);
}

function sendSnapshot(scenario: Scenario, command: Command): void {
  const [from, to] = command.args.map((arg) => Number(arg.key));
  const node = scenario.node(from ?? 0);
  const m = {
    type: "snap",
    to: to ?? 0,
    from: node.id,
    term: node.raw.status().hard.term,
    logTerm: 0,
    index: 0,
    entries: [],
    commit: 0,
    vote: 0,
    snapshot: node.latest(),
    reject: false,
    rejectHint: 0,
    context: new Uint8Array(0),
    responses: [],
  } as const;
  scenario.messages.push(m);
  scenario.output.write(`${messageWords(m)}\n`);
}

/** Proposals are refused with the sentence alone; its case prints it after what was logged. */
function refusal(error: ReturnType<ScenarioNode["raw"]["propose"]>): string | null {
  if (error === null) return null;
  return error.kind === "proposal-dropped" ? "raft proposal dropped" : `raft ${error.kind}`;
}

function proposeConfChange(scenario: Scenario, command: Command): string | null {
  const isSingle = value(command, "v1") === "true";
  const transition = value(command, "transition") ?? "auto";
  if (transition !== "auto" && transition !== "implicit" && transition !== "explicit") {
    return `unknown transition ${transition}`;
  }
  const changes = parseChanges(command.input);
  if (isSingle && (changes.length > 1 || transition !== "auto")) {
    return "v1 conf change can only have one operation and no transition";
  }
  const change: ConfChange = { transition, changes, context: new Uint8Array(0) };
  return refusal(firstNode(scenario, command).raw.proposeConfChange(change, isSingle ? "single" : "batch"));
}
