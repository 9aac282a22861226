// Mistakes in the driver, its storage and the store that must not stay unseen. Each breaks on purpose one thing that the rest relies
// on; the simulator must find every one of them within a few hundred seeds.

import type { Mutant } from "./mutants.ts";

/** An edit below manager/. */
function edit(file: string, text: { readonly find: string; readonly replace: string }): Mutant["edits"][number] {
  return { file, ...text };
}

const WRITING: readonly Mutant[] = [
  {
    it: "answers peers before what it answers for is on the disk",
    edits: [
      edit("replication/append-loop.ts", {
        find: "    this.#queue.push(work);\n    this.#start();",
        replace:
          "    const own = work.responses.filter((each) => each.to === each.from || each.from > 2 ** 53 - 3);\n" +
          "    this.#options.deliver(work.responses.filter((each) => !own.includes(each)));\n" +
          "    this.#queue.push({ ...work, responses: own });\n    this.#start();",
      }),
    ],
  },
  {
    it: "does not write a vote before it gives it",
    edits: [
      edit("replication/append-loop.ts", {
        find: "(hard.term === this.#written.term && hard.vote === this.#written.vote)",
        replace: "hard.term === this.#written.term",
      }),
    ],
  },
  {
    it: "does not write a term before it speaks in it",
    edits: [
      edit("replication/append-loop.ts", {
        find: "hard === null || (hard.term === this.#written.term && hard.vote === this.#written.vote)",
        replace: "hard === null || hard.term > 0",
      }),
    ],
  },
  {
    it: "joins writes without cutting what a later one replaces",
    edits: [
      edit("replication/append-loop.ts", {
        find: "while (from !== undefined && (entries.at(-1)?.index ?? 0) >= from) entries.pop();",
        replace: "",
      }),
    ],
  },
  {
    it: "writes records without syncing them",
    edits: [
      edit("replication/wal.ts", {
        find: "await this.#file.write(bytes, this.#offset);\n      await this.#file.sync();",
        replace: "await this.#file.write(bytes, this.#offset);",
      }),
    ],
  },
  {
    it: "begins a segment without syncing the folder",
    edits: [
      edit("replication/wal.ts", {
        find: "await disk.rename({ from: spare.path, to: path });\n      await disk.syncDir(dir);",
        replace: "await disk.rename({ from: spare.path, to: path });",
      }),
    ],
  },
  {
    it: "trusts a last record that may only look written",
    edits: [
      edit("replication/wal.ts", {
        find: "      await file.write(end.lastRecord.bytes, end.lastRecord.offset);\n",
        replace: "",
      }),
    ],
  },
  {
    it: "drops segments of the log that still hold what is needed",
    edits: [edit("replication/wal.ts", { find: "segment.top = Math.max(segment.top, write.top);", replace: "" })],
  },
  {
    it: "goes on with a log after a sync failed",
    edits: [
      edit("replication/wal.ts", {
        find: "      await this.#file.sync();\n    } catch (error) {\n      throw this.#fail(error);\n    }\n    this.#offset",
        replace:
          "      await this.#file.sync().catch(() => this.#file.sync());\n    } catch (error) {\n      throw this.#fail(error);\n    }\n    this.#offset",
      }),
    ],
  },
  {
    it: "loses keys that the log is still sealed with",
    edits: [
      edit("replication/seal-keys.ts", {
        find: "before.filter((each) => this.#used.has(each.id))",
        replace: "before.slice(-1).filter((each) => this.#used.has(each.id))",
      }),
    ],
  },
  {
    it: "names a snapshot before it is on the disk",
    edits: [edit("replication/snapshot-file.ts", { find: "    await file.sync();\n", replace: "" })],
  },
];

const APPLYING: readonly Mutant[] = [
  {
    it: "applies entries when they are written, not when they are committed",
    edits: [
      edit("replication/replicated-log-loop.ts", {
        find: "if (message.to === APPEND_THREAD) this.#append.push(message);",
        replace:
          "if (message.to === APPEND_THREAD) {\n        this.#append.push(message);\n" +
          "        for (const entry of message.entries) if (entry.index === this.#applied.index + 1) this.#applyEntry(entry);\n      }",
      }),
    ],
  },
  {
    it: "says of a change whose fate is unknown that it was not made",
    edits: [
      edit("replication/proposals.ts", {
        find: 'each.resolve({ kind: "ambiguous", reason })',
        replace: 'each.resolve({ kind: "dropped", reason })',
      }),
    ],
  },
  {
    it: "acknowledges changes as soon as they are in its own log",
    edits: [
      edit("replication/proposals.ts", {
        find: "    for (const [offset, each] of batch.entries())\n      this.#flights.push({ ...each, index: firstIndex + offset, term, sinceMs });",
        replace:
          '    for (const [offset, each] of batch.entries()) {\n      each.onCommit(firstIndex + offset);\n      each.resolve({ kind: "committed", index: firstIndex + offset });\n' +
          "      this.#flights.push({ ...each, onCommit: () => undefined, index: firstIndex + offset, term, sinceMs });\n    }",
      }),
    ],
  },
  {
    it: "leads before it has applied an entry of its own term",
    edits: [
      edit("replication/replicated-log.ts", {
        find: 'status.role === "leader" && this.#loop.applied.term === status.hard.term && !this.isRemoved',
        replace: 'status.role === "leader" && !this.isRemoved',
      }),
    ],
  },
  {
    it: "leaves the state as it was when a snapshot is put in place",
    edits: [
      edit("replication/replicated-log-loop.ts", {
        find: "    this.#hooks.onSnapshot({ index: meta.index, bytes });\n",
        replace: "",
      }),
    ],
  },
  {
    it: "saves snapshots with the membership of the one before",
    edits: [
      edit("replication/replicated-log-loop.ts", {
        find: "applied: () => ({ meta: { ...this.#applied, membership: this.#membership }, pieces: options.snapshot }),",
        replace:
          "applied: () => ({ meta: { ...this.#applied, membership: storage.membership.members.length > 0 ? storage.membership : this.#membership }, pieces: options.snapshot }),",
      }),
    ],
  },
  {
    it: "forgets the removed members",
    edits: [
      edit("replication/membership.ts", {
        find: "removed: [...before.removed, ...gone].slice(-REMOVED_MAX)",
        replace: "removed: [...before.removed, ...gone].slice(REMOVED_MAX)",
      }),
    ],
  },
];

const READING: readonly Mutant[] = [
  {
    it: "reads without asking a majority",
    edits: [
      edit("replication/replicated-log.ts", {
        find: "return this.#reads.barrier(signal);",
        replace: "return Promise.resolve();",
      }),
    ],
  },
  {
    it: "reads before it has applied what it must have seen",
    edits: [
      edit("replication/reads.ts", {
        find: "const ready = this.#confirmed.filter((each) => each.index <= applied);",
        replace: "const ready = this.#confirmed.filter((each) => each.index <= applied + 1_000_000);",
      }),
    ],
  },
  {
    it: "takes the answer to one read for that to another",
    edits: [
      edit("replication/reads.ts", {
        find: "context: this.#options.random.bytes(16)",
        replace: "context: new Uint8Array(16)",
      }),
    ],
  },
  {
    it: "reads although it was refused",
    edits: [
      edit("replication/reads.ts", {
        find: "else this.#refuse(round);",
        replace: "else this.#confirmed.push({ index: 0, barriers: round.barriers });",
      }),
    ],
  },
];

const STORE: readonly Mutant[] = [
  {
    it: "builds on changes that were not made",
    edits: [
      edit("store/store.ts", {
        find: "object: this.#committed.rows[kind].get(object.id) });",
        replace: "object: this.#newest.rows[kind].get(object.id) });",
      }),
    ],
  },
  {
    it: "keeps objects that a restored state does not hold",
    edits: [
      edit("store/store.ts", {
        find: "for (const { kind, object } of gone.values()) {",
        replace: "for (const { kind, object } of [...gone.values()].slice(1_000)) {",
      }),
    ],
  },
];

export const DRIVER_MUTANTS: readonly Mutant[] = [...WRITING, ...APPLYING, ...READING, ...STORE];
