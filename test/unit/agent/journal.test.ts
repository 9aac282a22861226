// The journal over a real folder: what is written is read again, damage is told of and survived.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Journal } from "../../../agent/journal.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-journal-"));
  try {
    await body(join(dir, "journal"));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const open = (dir: string): Journal => new Journal({ dir, logger: silentLogger });

test("a journal gives back the newest of every task, and not those that were forgotten", async () => {
  await withDir(async (dir) => {
    const journal = open(dir);
    assert.deepEqual(await journal.load(), []);
    await Promise.all(["t1", "t2", "t3"].map((name) => journal.put(makeTask(name))));
    journal.note(makeTask("t1", { state: TaskState.PREPARING }));
    journal.note(makeTask("t1", { state: TaskState.RUNNING }));
    await journal.forget(taskId("t2"));
    await journal.flush();
    const tasks = await open(dir).load();
    assert.deepEqual(
      tasks.sort((a, b) => a.id.localeCompare(b.id)),
      [makeTask("t1", { state: TaskState.RUNNING }), makeTask("t3")],
    );
  });
});

test("forgetting wins over a write that is still under way", async () => {
  await withDir(async (dir) => {
    const journal = open(dir);
    await journal.load();
    journal.note(makeTask("t1"));
    journal.note(makeTask("t1", { state: TaskState.RUNNING }));
    await journal.forget(taskId("t1"));
    assert.deepEqual(await readdir(dir), []);
  });
});

test("damaged, foreign and half-written files are left out and taken away", async () => {
  await withDir(async (dir) => {
    const journal = open(dir);
    await journal.load();
    await Promise.all(["t1", "t2", "t3"].map((name) => journal.put(makeTask(name))));
    const path = (name: string): string => join(dir, `${taskId(name)}.task`);
    const bytes = await readFile(path("t1"));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await writeFile(path("t1"), bytes);
    await writeFile(path("t2"), "");
    await writeFile(`${path("t3")}.tmp`, "half");
    await writeFile(join(dir, "../journal", `${taskId("t9")}.task`), await readFile(path("t3")));
    assert.deepEqual(await open(dir).load(), [makeTask("t3")]);
    assert.deepEqual(await readdir(dir), [`${taskId("t3")}.task`]);
  });
});

test("a journal that cannot be written says so to who waits for it", async () => {
  await withDir(async (dir) => {
    const journal = open(join(dir, "missing"));
    await assert.rejects(journal.put(makeTask("t1")), /ENOENT/);
    await journal.flush();
  });
});
