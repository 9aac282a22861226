// A lab of several managers and one worker for fault tests: its leader, its state at rest, and the proof that tasks were not touched.

import assert from "node:assert/strict";
import { nodeOf, placesOf } from "../../../deploy/lab/lab.ts";
import { daemonPid, startDaemon } from "../../../deploy/lab/process.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { ManagerStatus_Reachability } from "../../../proto/gen/objects.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { unixChannel } from "../../../proto/rpc/channel.ts";
import { eventually } from "../../cluster/support/bound.ts";
import { type TestLab, openTestLab } from "../../cluster/support/test-lab.ts";
import { type Counts, Workload } from "./workload.ts";

const TASKS = 2;

export class FaultLab {
  readonly lab: TestLab;
  readonly managers: readonly string[];
  #workloads = 0;
  #tasks: readonly string[] = [];

  private constructor(lab: TestLab) {
    this.lab = lab;
    this.managers = lab.lab.nodes.filter((node) => node.role === "manager").map((node) => node.name);
  }

  /** A cluster whose one worker runs a service of two tasks that no fault of a manager may touch. */
  static async open(options: { readonly name: string; readonly managers: number }): Promise<FaultLab> {
    const lab = await openTestLab({ ...options, workers: 1 });
    const faults = new FaultLab(lab);
    await lab.create("web", "--replicas", `${TASKS}`, "--constraint", "node.role==worker", "tsswarm/demo:1");
    const tasks = await lab.untilRunning("web", TASKS);
    faults.#tasks = tasks.map((task) => task.id).sort();
    await faults.untilWhole();
    return faults;
  }

  /** The manager that leads, as a manager that answers says. */
  leader(): Promise<string> {
    return eventually(
      async () => {
        for (const name of this.managers) {
          const found = await this.#leaderBy(name);
          if (found !== undefined) return found.leader;
        }
        return undefined;
      },
      () => "a leader",
    );
  }

  async follower(): Promise<string> {
    const leader = await this.leader();
    const other = this.managers.find((name) => name !== leader);
    assert.ok(other !== undefined);
    return other;
  }

  /** Every manager is reachable, and every one of them says so. */
  async untilWhole(): Promise<void> {
    for (const name of this.managers) {
      await eventually(
        async () => ((await this.#leaderBy(name))?.reachable === this.managers.length ? true : undefined),
        () => `${name} sees every manager`,
      );
    }
  }

  /** Runs the faults under load, waits until the cluster is whole, and holds what was acknowledged to what is there. */
  async under(faults: () => Promise<void>): Promise<Counts> {
    this.#workloads += 1;
    const sockets = this.managers.map((name) => this.socket(name));
    const workload = await Workload.start({ name: `load${this.#workloads}`, sockets });
    try {
      await faults();
      await this.untilWhole();
    } catch (error) {
      await Promise.allSettled([workload.finish()]);
      throw error;
    }
    const counts = await workload.finish();
    await this.tasksAreUntouched();
    assert.ok(counts.writes > 0 && counts.creates > 0, "the load did nothing");
    return counts;
  }

  async tasksAreUntouched(): Promise<void> {
    const tasks = await this.lab.untilRunning("web", TASKS);
    assert.deepEqual(tasks.map((task) => task.id).sort(), this.#tasks, "a fault of managers moved tasks");
  }

  socket(name: string): string {
    return placesOf(this.lab.lab.name, name).socket;
  }

  stateDir(name: string): string {
    return placesOf(this.lab.lab.name, name).stateDir;
  }

  /** Starts a daemon without waiting for its answer: it may need the others. */
  spawn(name: string): Promise<void> {
    return startDaemon(this.lab.lab, nodeOf(this.lab.lab, name));
  }

  /** Stops the daemon's process for a while, as a machine that swaps or is suspended would. */
  async freeze(name: string, forMs: number): Promise<void> {
    const pid = daemonPid(this.lab.lab, name);
    assert.ok(pid !== undefined);
    process.kill(pid, "SIGSTOP");
    try {
      await pause(forMs);
    } finally {
      process.kill(pid, "SIGCONT");
    }
  }

  async #leaderBy(name: string): Promise<{ readonly leader: string; readonly reachable: number } | undefined> {
    const channel = unixChannel(this.socket(name));
    try {
      const control = createClient(ControlService, channel);
      const options = { signal: AbortSignal.timeout(3_000), timeoutMs: 2_500 };
      const [answer] = await Promise.allSettled([control.listNodes({ filters: [] }, options)]);
      if (answer.status === "rejected") return undefined;
      const managers = answer.value.nodes.filter((node) => node.managerStatus !== undefined);
      const isUp = ManagerStatus_Reachability.REACHABLE;
      const reachable = managers.filter((node) => node.managerStatus?.reachability === isUp).length;
      const leader = managers.find((node) => node.managerStatus?.leader === true)?.description?.hostname;
      return leader === undefined ? undefined : { leader, reachable };
    } finally {
      channel.close();
    }
  }
}

/** For the time that a fault lasts. */
export function pause(ms: number): Promise<void> {
  return systemClock.sleep(ms, AbortSignal.timeout(ms + 60_000));
}
