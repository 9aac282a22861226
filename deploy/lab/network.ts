// The lab's wires: a namespace that holds a bridge, and for each node a namespace with one end of a cable in it. Made and
// removed with iproute2; cut with a drop rule on the bridge, so that a cut is silence and not a link that goes down.

import { existsSync } from "node:fs";
import { type Lab, type LabNode, placesOf, switchNamespace } from "./lab.ts";
import { run } from "./run.ts";

export type Direction = "in" | "out" | "both";

const BRIDGE = "br0";
const PREFIX = 24;
const GATEWAY = "10.77.0.1";

export async function makeSwitch(lab: Lab, signal: AbortSignal): Promise<void> {
  const namespace = switchNamespace(lab.name);
  await run("ip", ["netns", "add", namespace], { signal });
  await run("ip", ["-n", namespace, "link", "add", BRIDGE, "type", "bridge"], { signal });
  await run("ip", ["-n", namespace, "addr", "add", `${GATEWAY}/${PREFIX}`, "dev", BRIDGE], { signal });
  await run("ip", ["-n", namespace, "link", "set", BRIDGE, "up"], { signal });
}

export async function plugNode(lab: Lab, node: LabNode, signal: AbortSignal): Promise<void> {
  const { netns } = placesOf(lab.name, node.name);
  const ip = (...args: readonly string[]): Promise<string> => run("ip", args, { signal });
  await ip("netns", "add", netns);
  await ip("-n", netns, "link", "set", "lo", "up");
  await ip(
    "-n",
    netns,
    "link",
    "add",
    "eth0",
    "type",
    "veth",
    "peer",
    "name",
    node.name,
    "netns",
    switchNamespace(lab.name),
  );
  await ip("-n", switchNamespace(lab.name), "link", "set", node.name, "master", BRIDGE, "up");
  await ip("-n", netns, "addr", "add", `${node.address}/${PREFIX}`, "dev", "eth0");
  await ip("-n", netns, "link", "set", "eth0", "up");
  await ip("-n", netns, "route", "add", "default", "via", GATEWAY);
}

/** Takes the namespaces away, and with them every interface. What is gone already is no error. */
export async function removeWires(lab: Lab, signal: AbortSignal): Promise<void> {
  const namespaces = [...lab.nodes.map((node) => placesOf(lab.name, node.name).netns), switchNamespace(lab.name)];
  for (const namespace of namespaces) {
    if (existsSync(`/run/netns/${namespace}`)) await run("ip", ["netns", "delete", namespace], { signal });
  }
}

/** Drops what the node sends ("out"), what is sent to it ("in"), or both. Cutting again replaces the cut. */
export async function cutNode(
  lab: Lab,
  options: { readonly node: string; readonly direction: Direction },
  signal: AbortSignal,
): Promise<void> {
  const { node, direction } = options;
  const table = cutTable(node);
  const rules = [
    ...(direction === "in" ? [] : [`iifname "${node}" drop`]),
    ...(direction === "out" ? [] : [`oifname "${node}" drop`]),
  ];
  // The bridge itself is an end of the wire too: its own traffic passes input and output, not forward.
  const chains = ["forward", "input", "output"].map(
    (hook) =>
      `chain ${hook} {\ntype filter hook ${hook} priority 0\n${rules.filter((rule) => fits(rule, hook)).join("\n")}\n}`,
  );
  const script = `table bridge ${table} {}\ndelete table bridge ${table}\ntable bridge ${table} {\n${chains.join("\n")}\n}\n`;
  await nft(lab, script, signal);
}

export async function healNode(lab: Lab, node: string, signal: AbortSignal): Promise<void> {
  const table = cutTable(node);
  await nft(lab, `table bridge ${table} {}\ndelete table bridge ${table}\n`, signal);
}

function cutTable(node: string): string {
  return `cut_${node}`;
}

function fits(rule: string, hook: string): boolean {
  if (hook === "input") return rule.startsWith("iifname");
  return hook === "output" ? rule.startsWith("oifname") : true;
}

async function nft(lab: Lab, script: string, signal: AbortSignal): Promise<void> {
  await run("ip", ["netns", "exec", switchNamespace(lab.name), "nft", "-f", "-"], { signal, input: script });
}
