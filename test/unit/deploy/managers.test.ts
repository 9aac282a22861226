// What the daemon, the command and the lab decide about managers without a cluster: the words before a manager leaves, roles that
// are asked for, a backup as a file, the plan of a lab.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import type { Context } from "../../../deploy/cli/context.ts";
import { changeRoles } from "../../../deploy/cli/node/role.ts";
import { readBackup, writeBackup } from "../../../deploy/cli/system/backup-file.ts";
import { planLab } from "../../../deploy/lab/lab.ts";
import { leaveWarning } from "../../../deploy/node/leave-warning.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { Node } from "../../../proto/gen/objects.ts";
import { NodeRole, NodeSpec } from "../../../proto/gen/specs.ts";

/** A group by who answers, this one first; `leads` says whether there is a leader. */
function group(answers: readonly boolean[], leads = true): Parameters<typeof leaveWarning>[0] {
  return {
    leader: leads ? { nodeId: "n0", addr: "10.0.0.1:2377" } : undefined,
    members: answers.map((isReachable, index) => ({
      nodeId: `n${index}`,
      addr: `10.0.0.${index + 1}:2377`,
      isSelf: index === 0,
      isLeader: leads && index === 0,
      isReachable,
      isLearner: false,
    })),
  };
}

test("a manager that leaves is told what that costs the cluster", () => {
  assert.match(leaveWarning(group([true])), /Removing the last manager erases all current state of the swarm/);
  assert.doesNotMatch(leaveWarning(group([true, true, true])), /leaves|lose the consensus of/);
  assert.match(leaveWarning(group([true, true, true])), /participating as a manager\. The only way to restore a swarm/);
  assert.match(leaveWarning(group([true, true])), /leaves 1 managers out of 2\. Without a Raft quorum/);
  assert.match(leaveWarning(group([true, true, false])), /leaves 1 managers out of 3/);
  assert.doesNotMatch(leaveWarning(group([true, true, true, true, false])), /leaves/);
  assert.match(leaveWarning(group([true, false, false], false)), /may lose the consensus of your cluster/);
});

test("a lab has one to nine managers, named before its workers", () => {
  const plan = (managers: number): readonly string[] =>
    planLab({ name: "a", managers, workers: 1, nowMs: 0 }).nodes.map(({ name, role }) => `${name} ${role}`);
  assert.deepEqual(plan(3), ["m1 manager", "m2 manager", "m3 manager", "w1 worker"]);
  assert.throws(() => plan(0), { code: "InvalidArgument" });
  assert.throws(() => plan(10), { code: "InvalidArgument", message: /at most 9 managers/ });
});

interface Asked {
  readonly id: string;
  readonly role: NodeRole | undefined;
}

/** A command's surroundings over two nodes: `m` is a manager, `w` a worker. */
function command(refusal?: SwarmError): { context: Context; asked: Asked[]; said: () => string; codes: number[] } {
  const nodes = new Map(
    [
      { id: "m", role: NodeRole.MANAGER },
      { id: "w", role: NodeRole.WORKER },
    ].map(({ id, role }) => [id, { ...Node.create({ id, role }), spec: NodeSpec.create({ role }) }]),
  );
  const asked: Asked[] = [];
  const codes: number[] = [];
  const output = new PassThrough();
  const control = {
    getNode: ({ ref }: { readonly ref: string }) => {
      const node = nodes.get(ref);
      return node === undefined
        ? Promise.reject(new SwarmError("NotFound", `node ${ref} not found`))
        : Promise.resolve(node);
    },
    updateNode: ({ id, spec }: { readonly id: string; readonly spec: NodeSpec | undefined }) => {
      if (refusal !== undefined) return Promise.reject(refusal);
      asked.push({ id, role: spec?.role });
      return Promise.resolve(Node.create({ id }));
    },
  };
  const context = {
    control: () => Promise.resolve(control),
    signal: new AbortController().signal,
    stdout: output,
    stderr: output,
    exit: (code: number) => codes.push(code),
  } as unknown as Context;
  return { context, asked, codes, said: () => String(output.read() ?? "") };
}

test("promote and demote ask for roles in Docker's words, and go on past a node that is refused", async () => {
  const promote = command();
  await changeRoles(promote.context, ["w", "nobody", "m"], "manager");
  assert.deepEqual(promote.asked, [{ id: "w", role: NodeRole.MANAGER }]);
  assert.deepEqual(promote.said().trim().split("\n"), [
    "Node w promoted to a manager in the swarm.",
    "Error response from daemon: node nobody not found",
    "Node m is already a manager.",
  ]);
  assert.deepEqual(promote.codes, [1]);
  const demote = command();
  await changeRoles(demote.context, ["m", "w"], "worker");
  assert.deepEqual(demote.asked, [{ id: "m", role: NodeRole.WORKER }]);
  assert.equal(demote.said(), "Manager m demoted in the swarm.\nNode w is already a worker.\n");
  const last = command(new SwarmError("FailedPrecondition", "attempting to demote the last manager of the swarm"));
  await changeRoles(last.context, ["m"], "worker");
  assert.match(last.said(), /Error response from daemon: attempting to demote the last manager/);
  assert.deepEqual(last.codes, [1]);
});

async function* pieces(parts: readonly string[], failure?: Error): AsyncGenerator<{ readonly chunk: Uint8Array }> {
  for (const part of parts) yield await Promise.resolve({ chunk: Buffer.from(part) });
  if (failure !== undefined) throw failure;
}

test("a backup becomes a file when it is whole, for its owner alone, and goes over none", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-backup-"));
  try {
    const path = join(dir, "state");
    assert.equal(await writeBackup(path, () => pieces(["one ", "two"])), 7);
    assert.equal(await readFile(path, "utf8"), "one two");
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    await assert.rejects(
      writeBackup(path, () => assert.fail("nothing is asked for when the name is taken")),
      { code: "AlreadyExists" },
    );
    const lost = new SwarmError("Unavailable", "the cluster has no leader");
    await assert.rejects(
      writeBackup(join(dir, "half"), () => pieces(["one"], lost)),
      lost,
    );
    await assert.rejects(
      writeBackup(join(dir, "no", "folder"), () => pieces([])),
      { code: "InvalidArgument", message: /cannot write the backup/ },
    );
    assert.deepEqual(await readdir(dir), ["state"]);
  } finally {
    await rm(dir, { recursive: true });
  }
});

async function gathered<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("a backup is sent with its header first, and what is no file is refused", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-backup-"));
  try {
    const path = join(dir, "state");
    const bytes = Buffer.alloc(600_000, 7);
    await writeFile(path, bytes);
    const header = { listenAddr: "", advertiseAddr: "eth0" };
    const [first, ...rest] = await gathered(readBackup(path, header));
    assert.deepEqual(first?.part, { $case: "header", value: header });
    const chunks = rest.map(({ part }) => (part?.$case === "chunk" ? Buffer.from(part.value) : Buffer.alloc(0)));
    assert.ok(chunks.every((chunk) => chunk.byteLength <= 262_144));
    assert.ok(Buffer.concat(chunks).equals(bytes));
    await assert.rejects(gathered(readBackup(dir, header)), { code: "InvalidArgument" });
    await assert.rejects(gathered(readBackup(join(dir, "none"), header)), { code: "NotFound" });
  } finally {
    await rm(dir, { recursive: true });
  }
});
