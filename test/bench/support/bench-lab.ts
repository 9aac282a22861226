// A lab for one benchmark: a real cluster of daemons in namespaces, up while the body runs and taken down whatever happens.

import { spawn } from "node:child_process";
import { type Lab, placesOf, planLab } from "../../../deploy/lab/lab.ts";
import { BIN_DIR, daemonPid } from "../../../deploy/lab/process.ts";
import { labDown, labUp } from "../../../deploy/lab/up-down.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { type RpcChannel, unixChannel } from "../../../proto/rpc/channel.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import { ClusterView } from "../../cluster/support/cluster-view.ts";
import { leftovers } from "../../cluster/support/leftovers.ts";

const POLL_MS = 20;
const DOWN_WITHIN_MS = 60_000;

export class BenchLab {
  readonly lab: Lab;
  readonly #channel: RpcChannel;
  readonly #control: Client<typeof ControlService>;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.#channel = unixChannel(placesOf(lab.name, "m1").socket);
    this.#control = createClient(ControlService, this.#channel);
  }

  /** Runs the body on a fresh lab of so many managers (one where it is not said) and workers. */
  static async with<T>(
    options: { readonly name: string; readonly managers?: number; readonly workers: number },
    body: (bench: BenchLab) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { name, managers = 1, workers } = options;
    const lab = planLab({ name: `b${process.pid}-${name}`, managers, workers, nowMs: systemClock.now() });
    await labUp(lab, signal);
    const bench = new BenchLab(lab);
    try {
      return await body(bench);
    } finally {
      bench.#channel.close();
      await labDown(lab, AbortSignal.timeout(DOWN_WITHIN_MS));
    }
  }

  /** Pid of a node's daemon. */
  pidOf(node: string): number {
    const pid = daemonPid(this.lab, node);
    if (pid === undefined) throw new Error(`the daemon of ${node} does not run`);
    return pid;
  }

  /** The real command, talking to a manager. Throws when it fails. */
  tsswarm(words: readonly string[], signal: AbortSignal, options: { readonly at?: string } = {}): Promise<void> {
    const env = { ...process.env, TSSWARM_HOST: `unix://${placesOf(this.lab.name, options.at ?? "m1").socket}` };
    const child = spawn(`${BIN_DIR}/tsswarm`, words, { env, signal, stdio: ["ignore", "ignore", "inherit"] });
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) =>
        code === 0 ? resolve() : reject(new Error(`tsswarm ${words.join(" ")} ended with ${code ?? "a signal"}`)),
      );
    });
  }

  /** Milliseconds from the start of `service create -d` until the manager's watch stream shows the last replica running. */
  async timeService(
    wanted: { readonly name: string; readonly replicas: number; readonly flags?: readonly string[] },
    signal: AbortSignal,
  ): Promise<number> {
    const { name, replicas, flags = [] } = wanted;
    const words = ["service", "create", "-d", "--name", name, "--replicas", `${replicas}`, ...flags, "tsswarm/demo:1"];
    const view = new ClusterView();
    let startedMs = 0;
    let command: Promise<void> | undefined;
    for await (const { changes } of this.#control.watch(
      { kinds: [], serviceId: "", includePresent: true },
      { signal },
    )) {
      for (const change of changes) view.apply(change);
      // The present objects end with an empty message: from here on nothing is missed.
      if (changes.length === 0 && command === undefined) {
        startedMs = systemClock.monotonicMs();
        command = this.tsswarm(words, signal);
      }
      const running = view.tasks(name).filter((task) => task.status.state === TaskState.RUNNING);
      if (running.length < replicas) continue;
      const tookMs = systemClock.monotonicMs() - startedMs;
      await command;
      return tookMs;
    }
    throw new Error("the manager's watch stream ended");
  }

  /** Removes the service and waits until nothing of its containers is left on any node. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    await this.tsswarm(["service", "rm", name], signal);
    while (leftovers(this.lab).length > 0) await systemClock.sleep(POLL_MS, signal);
  }
}
