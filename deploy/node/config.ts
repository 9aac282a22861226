// What a node remembers of its place in the cluster: one small JSON file in its state folder, replaced atomically.

import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SwarmError, errorText } from "../../proto/base/errors.ts";

export interface NodeConfig {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly listenAddr: string;
  readonly advertiseAddr: string;
  /** Managers to go to (host:port); a manager has its own address here. */
  readonly managers: readonly string[];
}

const FILE = "node.json";

/** The file's content, or null where this node belongs to no cluster. Throws when the file is there and cannot be read. */
export async function readConfig(stateDir: string): Promise<NodeConfig | null> {
  const path = join(stateDir, "node", FILE);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new SwarmError("Internal", `cannot read ${path}: ${errorText(error)}`, { cause: error });
  }
  try {
    return checked(JSON.parse(text) as Partial<NodeConfig>);
  } catch (error) {
    throw new SwarmError(
      "Internal",
      `${path} is damaged (${errorText(error)}); restore it, or remove the node folder and join again`,
      { cause: error },
    );
  }
}

export async function writeConfig(stateDir: string, config: NodeConfig): Promise<void> {
  const folder = join(stateDir, "node");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = join(folder, `${FILE}.tmp`);
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(config, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, FILE));
  const folderHandle = await open(folder);
  try {
    await folderHandle.sync();
  } finally {
    await folderHandle.close();
  }
}

/** Forgets the cluster: identity, manager's log, agent's journal. Images stay. */
export async function forgetCluster(stateDir: string): Promise<void> {
  for (const folder of ["manager", "agent", "node"]) await rm(join(stateDir, folder), { recursive: true, force: true });
}

function checked(value: Partial<NodeConfig>): NodeConfig {
  const { nodeId, clusterId, listenAddr, advertiseAddr, managers } = value;
  if (
    typeof nodeId !== "string" ||
    typeof clusterId !== "string" ||
    typeof listenAddr !== "string" ||
    typeof advertiseAddr !== "string" ||
    !Array.isArray(managers)
  ) {
    throw new Error("a field is missing");
  }
  return { nodeId, clusterId, listenAddr, advertiseAddr, managers: managers.map(String) };
}
