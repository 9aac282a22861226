// A lab for one test file: a real cluster of daemons in namespaces, with the command and the clients of its nodes at hand. It is
// taken down at the end of the file whatever happened, and what a killed run left is taken down by the next one.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { after } from "node:test";
import { untilUp } from "../../../deploy/lab/cluster.ts";
import { type Lab, labDir, listLabs, nodeOf, placesOf, planLab } from "../../../deploy/lab/lab.ts";
import { type Direction, cutNode, healNode } from "../../../deploy/lab/network.ts";
import { BIN_DIR, killDaemon, powerOff, startDaemon } from "../../../deploy/lab/process.ts";
import { labDown, labUp } from "../../../deploy/lab/up-down.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { LocalService } from "../../../proto/gen/local.ts";
import type { WholeTask } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { type RpcChannel, unixChannel } from "../../../proto/rpc/channel.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import { bound } from "./bound.ts";
import { type ClusterView, untilView } from "./cluster-view.ts";
import { type Ran, type RunOptions, runProgram } from "./program.ts";

/** Of a lab that a run of the tests made: the pid of its process stands in the name. */
const OURS = /^t(\d+)-/;

export interface TestLabOptions {
  /** Of the test file; part of the lab's name, at most 6 letters. */
  readonly name: string;
  /** Absent: one. */
  readonly managers?: number;
  readonly workers: number;
  readonly heartbeatPeriodMs?: number;
  /** "gpu=4" for every node, "w1:gpu=4" for one. */
  readonly genericResources?: readonly string[];
}

/** To be called at the top of a test file: registers the taking down for the end of the process. */
export async function openTestLab(options: TestLabOptions): Promise<TestLab> {
  const name = `t${process.pid}-${options.name}`;
  const { managers = 1, workers, heartbeatPeriodMs, genericResources } = options;
  const lab = planLab({ name, managers, workers, nowMs: systemClock.now(), heartbeatPeriodMs, genericResources });
  const test = new TestLab(lab);
  after(() => test.close());
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      spawnSync(`${BIN_DIR}/tsswarm`, ["lab", "down", "--name", name], { stdio: "inherit" });
      process.exit(1);
    });
  }
  await removeStaleLabs();
  await labUp(lab, bound());
  await mkdir(test.scratch, { recursive: true });
  return test;
}

async function removeStaleLabs(): Promise<void> {
  for (const lab of await listLabs()) {
    const pid = OURS.exec(lab.name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await labDown(lab, bound());
  }
}

export class TestLab {
  readonly #channels = new Map<string, RpcChannel>();
  /** The manager whose daemon is asked. */
  door = "m1";
  #lab: Lab;

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  get lab(): Lab {
    return this.#lab;
  }

  /** A folder on the host that goes with the lab, for bind mounts and files. */
  get scratch(): string {
    return `${labDir(this.#lab.name)}/scratch`;
  }

  /** The cluster's API, at the manager that is asked. */
  get control(): Client<typeof ControlService> {
    return createClient(ControlService, this.#channel(this.door));
  }

  local(node: string): Client<typeof LocalService> {
    return createClient(LocalService, this.#channel(node));
  }

  address(node: string): string {
    return nodeOf(this.#lab, node).address;
  }

  /** A program in the node's network. */
  on(node: string, words: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return runProgram(["nsenter", `--net=/run/netns/${placesOf(this.#lab.name, node).netns}`, "--", ...words], {
      ...options,
      env: { TSSWARM_HOST: `unix://${placesOf(this.#lab.name, node).socket}`, ...options.env },
    });
  }

  /** The real command, as a person types it on the node. */
  tsswarm(node: string, words: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return this.on(node, [`${BIN_DIR}/tsswarm`, ...words], options);
  }

  /** The real command on the manager that is asked; it must succeed. Answers what it printed. */
  async run(...words: readonly string[]): Promise<string> {
    const ran = await this.tsswarm(this.door, words);
    assert.equal(ran.code, 0, `tsswarm ${words.join(" ")} failed: ${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  }

  /** `service create -d`, and its id. */
  async create(name: string, ...words: readonly string[]): Promise<string> {
    return (await this.run("service", "create", "-d", "--name", name, ...words)).trim();
  }

  /** Removes services and waits until nothing of them is left in the cluster. */
  async remove(...names: readonly string[]): Promise<void> {
    await this.run("service", "rm", ...names);
    await this.until((view) =>
      names.every((name) => view.service(name) === undefined && view.tasks(name).length === 0) ? true : undefined,
    );
  }

  until<T>(pick: (view: ClusterView) => T | undefined): Promise<T> {
    return untilView(this.control, pick);
  }

  /** The tasks of a service once `count` of them run and no other is wanted. */
  untilRunning(service: string, count: number): Promise<readonly WholeTask[]> {
    return this.until((view) => {
      const wanted = view.wanted(service);
      const running = wanted.filter(
        ({ desiredState, status }) => desiredState === TaskState.RUNNING && status.state === TaskState.RUNNING,
      );
      return running.length === count && wanted.length === count ? running : undefined;
    });
  }

  /** Body of an answer over HTTP, asked for on one node; undefined when there is none. */
  async http(from: string, url: string): Promise<string | undefined> {
    const ran = await this.on(from, ["curl", "-sf", "--max-time", "5", url]);
    return ran.code === 0 ? ran.stdout : undefined;
  }

  /** kill -9 of the daemon alone. */
  kill(node: string): Promise<void> {
    return killDaemon(this.#lab, node);
  }

  powerOff(node: string): Promise<void> {
    return powerOff(this.#lab, node);
  }

  /** Starts the node's daemon and waits until it answers. */
  async start(node: string): Promise<void> {
    await startDaemon(this.#lab, nodeOf(this.#lab, node));
    await untilUp(this.#lab, nodeOf(this.#lab, node), bound());
  }

  cut(node: string, direction: Direction): Promise<void> {
    return cutNode(this.#lab, { node, direction }, bound());
  }

  heal(node: string): Promise<void> {
    return healNode(this.#lab, node, bound());
  }

  /** Counts for the lab from here on, and is taken down with it. */
  adopt(lab: Lab): void {
    this.#lab = lab;
  }

  async close(): Promise<void> {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
    await rm(this.scratch, { recursive: true, force: true });
    if (existsSync(labDir(this.#lab.name))) await labDown(this.#lab, bound());
  }

  #channel(node: string): RpcChannel {
    const known = this.#channels.get(node);
    if (known !== undefined) return known;
    const channel = unixChannel(placesOf(this.#lab.name, node).socket);
    this.#channels.set(node, channel);
    return channel;
  }
}
