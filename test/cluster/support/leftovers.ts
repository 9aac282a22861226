// What containers of a lab's nodes leave behind on the machine: files, processes, control groups, mounts, interfaces.

import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, readdirSync, statSync } from "node:fs";
import { type Lab, placesOf } from "../../../deploy/lab/lab.ts";
import { processesNaming, readIfThere } from "./processes.ts";

/** One line for each thing of a container that is still there. Empty where none runs and none is remembered. */
export function leftovers(lab: Lab): readonly string[] {
  return lab.nodes.flatMap(({ name }) => {
    const { stateDir, runDir, netns, cgroupParent } = placesOf(lab.name, name);
    const interfaces = execFileSync("ip", ["-n", netns, "-o", "link"], { encoding: "utf8" }).trim().split("\n");
    return [
      ...entries(`${stateDir}/containers`),
      ...entries(`${runDir}/s`),
      ...cgroupsBelow(cgroupParent),
      ...interfaces
        .map((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? line)
        .filter((each) => !["lo", "eth0", "tsswarm0"].includes(each))
        .map((each) => `interface ${each} of ${name}`),
      ...mountsNaming(`${stateDir}/`),
      ...processesNaming("tsswarm-shim", stateDir),
    ];
  });
}

/** Lines of any process's mount table that name the text, each once. */
export function mountsNaming(text: string): readonly string[] {
  const lines = globSync("/proc/[0-9]*/mountinfo").flatMap((path) => readIfThere(path).split("\n"));
  return [...new Set(lines.filter((line) => line.includes(text)))].map((line) => `mount ${line}`);
}

/** Control groups of that path and below it, in every hierarchy. */
export function cgroupsBelow(parent: string): readonly string[] {
  const roots = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "");
  return [...new Set(roots)].flatMap((root) =>
    globSync(`${root}${parent}/**`)
      .filter((path) => path !== `${root}${parent}` && isFolder(path))
      .map((path) => `control group ${path}`),
  );
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function entries(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => `file ${folder}/${name}`) : [];
}
