// A group of members in one process without time or network of its own: every tick, delivery and write is a command.
// What the commands print is what the conformance data expects.

import {
  EMPTY_CONF_STATE,
  type Message,
  type MessageType,
  type Ready,
  type SnapshotRef,
  type StepError,
  isForSelf,
  isStorageThread,
} from "../../../manager/raft/index.ts";
import { freezeDeep } from "./freeze.ts";
import { Output } from "./output.ts";
import { ScenarioNode } from "./scenario-node.ts";
import { traceWords } from "./trace-words.ts";
import { entriesWords, messageWords, readyWords } from "./words.ts";

/** What add-nodes may set. */
export type NodeOptions = Partial<Omit<ScenarioNode["config"], "id" | "storage" | "trace" | "random">>;

export interface Recipient {
  readonly id: number;
  readonly drop: boolean;
}

export const EMPTY_START: SnapshotRef = { index: 0, term: 0, conf: EMPTY_CONF_STATE, data: new Uint8Array(0) };

export class Scenario {
  readonly output: Output = new Output();
  readonly nodes: ScenarioNode[] = [];
  /** Messages on their way. */
  messages: Message[] = [];

  addNodes(count: number, from: { readonly start: SnapshotRef; readonly options: NodeOptions }): void {
    for (let i = 0; i < count; i++) {
      const id = this.nodes.length + 1;
      const node = new ScenarioNode({
        id,
        start: from.start,
        config: {
          electionTicks: 3,
          heartbeatTicks: 1,
          applied: from.start.index,
          maxInflightMessages: Number.MAX_SAFE_INTEGER,
          checkQuorum: false,
          preVote: false,
          stepDownOnRemoval: false,
          ...from.options,
          // The longest timeout, so that only the ticks a scenario asks for start elections.
          random: (below) => below - 1,
          trace: (event) => {
            const line = traceWords(id, event);
            if (line !== null) this.output.log(line.level, line.text);
          },
        },
      });
      this.nodes.push(node);
    }
  }

  node(id: number): ScenarioNode {
    const node = this.nodes[id - 1];
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  /** Prints how a call was refused. */
  report(error: StepError | null): void {
    if (error !== null) this.output.write(`${errorWords(error)}\n`);
  }

  processReady(node: ScenarioNode): void {
    if (!node.raw.hasReady()) {
      this.output.write("<empty Ready>\n");
      return;
    }
    const ready: Ready = freezeDeep(node.raw.ready());
    this.output.write(readyWords(ready));
    if (!node.isAsync) {
      node.store({ hard: ready.hardState, entries: ready.entries, snapshot: ready.snapshot });
      node.apply(ready.committedEntries);
    }
    for (const m of ready.messages) {
      if (!isStorageThread(m.to)) this.messages.push(m);
      else if (m.type === "storageAppend") node.appendWork.push(m);
      else node.applyWork.push(m);
    }
    if (!node.isAsync) node.raw.advance();
  }

  processAppendThread(node: ScenarioNode): void {
    const work = node.appendWork.shift();
    if (work === undefined) {
      this.output.write("no append work to perform\n");
      return;
    }
    this.#printWork(work);
    const { term, vote, commit, entries, snapshot } = work;
    node.store({ hard: term === 0 ? null : { term, vote, commit }, entries, snapshot });
    this.#respond(work);
  }

  processApplyThread(node: ScenarioNode): void {
    const work = node.applyWork.shift();
    if (work === undefined) {
      this.output.write("no apply work to perform\n");
      return;
    }
    this.#printWork(work);
    node.apply(work.entries);
    this.#respond(work);
  }

  #printWork(work: Message): void {
    this.output.write(`Processing:\n${messageWords({ ...work, responses: [] })}\n`);
  }

  #respond(work: Message): void {
    this.output.write("Responses:\n");
    for (const m of work.responses) this.output.write(`${messageWords(m)}\n`);
    this.messages.push(...work.responses);
  }

  /** Whether a message waits for the recipient. Dropping spares what a node says to itself. */
  #isFor(m: Message, recipient: Recipient, type: MessageType | null): boolean {
    if (m.to !== recipient.id || (type !== null && m.type !== type)) return false;
    return !(recipient.drop && isForSelf(m));
  }

  /** Delivers or drops what waits for the recipients, in order. Returns how many messages those were. */
  deliver(recipients: readonly Recipient[], type: MessageType | null): number {
    let count = 0;
    for (const recipient of recipients) {
      const taken = this.messages.filter((m) => this.#isFor(m, recipient, type));
      this.messages = this.messages.filter((m) => !this.#isFor(m, recipient, type));
      count += taken.length;
      for (const m of taken) {
        this.output.write(`${recipient.drop ? "dropped: " : ""}${messageWords(m)}\n`);
        if (!recipient.drop) this.report(this.node(m.to).raw.step(m));
      }
    }
    return count;
  }

  /** Lets the nodes work and talk until nothing is left to do. */
  stabilize(nodes: readonly ScenarioNode[]): void {
    for (let isDone = false; !isDone;) {
      isDone = true;
      const work = (title: string, node: ScenarioNode, action: () => void): void => {
        this.output.write(`> ${node.id} ${title}\n`);
        this.output.indented(action);
        isDone = false;
      };
      for (const node of nodes) {
        if (node.raw.hasReady()) work("handling Ready", node, () => this.processReady(node));
      }
      for (const node of nodes) {
        if (!this.messages.some((m) => m.to === node.id)) continue;
        work("receiving messages", node, () => this.deliver([{ id: node.id, drop: false }], null));
      }
      for (const node of nodes) {
        if (node.appendWork.length === 0) continue;
        work("processing append thread", node, () => {
          while (node.appendWork.length > 0) this.processAppendThread(node);
        });
      }
      for (const node of nodes) {
        if (node.applyWork.length === 0) continue;
        work("processing apply thread", node, () => {
          while (node.applyWork.length > 0) this.processApplyThread(node);
        });
      }
    }
  }

  printLog(node: ScenarioNode): void {
    const first = node.storage.firstIndex();
    const last = node.storage.lastIndex();
    if (last < first) {
      this.output.write(`log is empty: first index=${first}, last index=${last}\n`);
      return;
    }
    const entries = node.storage.entries(first, last + 1, Infinity);
    if (entries !== "compacted") this.output.write(entriesWords(entries));
  }
}

export function errorWords(error: StepError): string {
  switch (error.kind) {
    case "proposal-dropped":
      return "raft proposal dropped";
    case "not-found":
      return "raft: cannot step as peer not found";
    case "local":
      return "raft: cannot step raft local message";
    case "read-refused":
      return `raft read refused: ${error.reason}`;
    case "malformed":
    case "diverged":
      return `raft ${error.kind}: ${error.detail}`;
  }
}
