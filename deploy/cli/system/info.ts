// `tsswarm info`: this node and its place in the cluster.

import type { Command } from "commander";
import { printBytes, printCpus } from "../../../proto/base/units.ts";
import { type InfoResponse, InfoResponse_LocalNodeState } from "../../../proto/gen/local.ts";
import { type Context, print, warn } from "../context.ts";
import { type Section, pretty } from "../format/pretty.ts";
import { compileTemplate } from "../format/template.ts";

const STATE: Readonly<Record<InfoResponse_LocalNodeState, string>> = {
  [InfoResponse_LocalNodeState.INACTIVE]: "inactive",
  [InfoResponse_LocalNodeState.PENDING]: "pending",
  [InfoResponse_LocalNodeState.ACTIVE]: "active",
  [InfoResponse_LocalNodeState.ERROR]: "error",
};

export function addInfo(command: Command, context: Context): void {
  command
    .option("-f, --format <template>", "Format output using a Go template, or 'json'")
    .action(async (options: { format?: string }) => {
      const info = await (await context.local()).info({}, { signal: context.signal });
      if (options.format === undefined) print(context, pretty(sections(info)));
      else if (options.format === "json") print(context, JSON.stringify(infoJson(info)));
      else print(context, compileTemplate(options.format)(infoJson(info)));
      if (info.error !== "") warn(context, `ERROR: ${info.error}`);
    });
}

/** The fields of `docker info` that we have, by docker's names. */
function infoJson(info: InfoResponse): Record<string, unknown> {
  return {
    Name: info.description?.hostname ?? "",
    ServerVersion: info.version,
    ContainersRunning: info.containersRunning,
    Images: info.images,
    CgroupVersion: info.cgroupVersion,
    KernelVersion: info.description?.kernelVersion ?? "",
    OSType: info.description?.platform?.os ?? "",
    Architecture: info.description?.platform?.architecture ?? "",
    NCPU: (info.description?.resources?.nanoCpus ?? 0) / 1e9,
    MemTotal: info.description?.resources?.memoryBytes ?? 0,
    RootDir: info.stateDir,
    Swarm: {
      NodeID: info.nodeId,
      NodeAddr: info.nodeAddr,
      LocalNodeState: STATE[info.state],
      ControlAvailable: info.isManager,
      Error: info.error,
      RemoteManagers: info.managers.map((Addr) => ({ Addr })),
      Nodes: info.nodeCount,
      Managers: info.managerCount,
      Raft: info.managerList.map((manager) => ({
        NodeID: manager.nodeId,
        Addr: manager.addr,
        Leader: manager.leader,
        Reachability: manager.reachable ? "reachable" : "unreachable",
        Voter: !manager.learner,
      })),
      Cluster: { ID: info.clusterId },
    },
  };
}

function sections(info: InfoResponse): readonly Section[] {
  const { description } = info;
  const cluster: readonly Section[] =
    info.state === InfoResponse_LocalNodeState.INACTIVE
      ? [["Swarm", "inactive"]]
      : [
          ["Swarm", STATE[info.state]],
          [
            "Cluster",
            [
              ["NodeID", info.nodeId],
              ["Is Manager", String(info.isManager)],
              ["ClusterID", info.clusterId],
              ["Managers", info.managerCount === 0 ? "" : String(info.managerCount)],
              ["Nodes", info.nodeCount === 0 ? "" : String(info.nodeCount)],
              ["Node Address", info.advertiseAddr],
              ["Raft", raftSection(info)],
              ["Manager Addresses", info.managers],
            ],
          ],
        ];
  return [
    ["Server Version", info.version],
    ["Containers running", String(info.containersRunning)],
    ["Images", String(info.images)],
    ["Cgroup Version", info.cgroupVersion],
    ...cluster,
    ["Kernel Version", description?.kernelVersion ?? ""],
    ["OSType", description?.platform?.os ?? ""],
    ["Architecture", description?.platform?.architecture ?? ""],
    ["CPUs", printCpus(description?.resources?.nanoCpus ?? 0)],
    ["Total Memory", printBytes(description?.resources?.memoryBytes ?? 0)],
    ["Name", description?.hostname ?? ""],
    ["Root Dir", info.stateDir],
  ];
}

/** Whether this manager leads, and who answers; nothing on workers. */
function raftSection({ managerList, nodeId }: InfoResponse): string | readonly Section[] {
  const voters = managerList.filter((manager) => !manager.learner);
  if (voters.length === 0) return "";
  const leader = voters.find((manager) => manager.leader);
  const reachable = voters.filter((manager) => manager.reachable).length;
  return [
    ["Role", leader?.nodeId === nodeId ? "leader" : "follower"],
    ["Leader", leader?.addr ?? "none"],
    ["Reachable", `${reachable} of ${voters.length}`],
  ];
}
