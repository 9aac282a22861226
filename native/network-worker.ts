// The Worker that talks netlink. The kernel may make a caller wait for its network lock, so no other thread does. It enters a
// container's network namespace only for the time of opening a socket, with nothing asynchronous in between.

import { parentPort } from "node:worker_threads";
import { closeSync, openSync } from "node:fs";
import { defined } from "../proto/base/assert.ts";
import { errorText, isSwarmError } from "../proto/base/errors.ts";
import { check, libc } from "./ffi.ts";
import type { ReceivedMessage } from "./netlink-bytes.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from "./netlink.ts";
import type { NetworkAnswer, NetworkJob, NetworkRequest } from "./network.ts";

const CLONE_NEWNET = 0x40000000;
const setns = libc<(fd: number, kind: number) => number>("int setns(int fd, int kind)");

const port = defined(parentPort, "the port of a Worker");
const home = openSync("/proc/thread-self/ns/net", "r");
/** One socket a protocol, in this node's namespace. */
const sockets = new Map<number, NetlinkSocket>();

function socketOf(protocol: number): NetlinkSocket {
  const known = sockets.get(protocol);
  if (known !== undefined) return known;
  const opened = new NetlinkSocket(protocol);
  sockets.set(protocol, opened);
  return opened;
}

function inNamespaceOf<T>(pid: number, act: () => T): T {
  const namespace = openSync(`/proc/${pid}/ns/net`, "r");
  try {
    check(setns(namespace, CLONE_NEWNET), `cannot enter the network namespace of process ${pid}`);
    return act();
  } finally {
    // A thread that cannot come back must not serve on; the next request gets a new one.
    if (setns(home, CLONE_NEWNET) < 0) process.exit(1);
    closeSync(namespace);
  }
}

function perform(job: NetworkJob): readonly ReceivedMessage[] {
  const protocol = job.protocol === "route" ? NETLINK_ROUTE : NETLINK_NETFILTER;
  if (job.pid === undefined) return socketOf(protocol).run(job.messages);
  const socket = inNamespaceOf(job.pid, () => new NetlinkSocket(protocol));
  try {
    return socket.run(job.messages);
  } finally {
    socket.close();
  }
}

port.on("message", (request: NetworkRequest) => {
  if (request.kind === "stop") {
    for (const socket of sockets.values()) socket.close();
    closeSync(home);
    port.close();
    return;
  }
  let answer: NetworkAnswer;
  try {
    answer = { kind: "done", id: request.id, results: request.jobs.map(perform) };
  } catch (error) {
    const known = isSwarmError(error) ? error : undefined;
    answer = {
      kind: "failed",
      id: request.id,
      code: known?.code ?? "Internal",
      message: errorText(error),
      details: known?.details ?? {},
    };
  }
  port.postMessage(answer);
});
