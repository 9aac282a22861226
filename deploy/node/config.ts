// What a node remembers besides its identity: the addresses it was told to use. One small JSON file, replaced atomically.

import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SwarmError, errorText } from "../../proto/base/errors.ts";

/** host:port each. */
export interface NodeAddresses {
  readonly listenAddr: string;
  readonly advertiseAddr: string;
}

const FILE = "addresses.json";

/** Null where this node belongs to no cluster. Throws FailedPrecondition when the file is there and cannot be used. */
export async function readAddresses(dir: string): Promise<NodeAddresses | null> {
  const path = join(dir, FILE);
  try {
    const { listenAddr, advertiseAddr } = JSON.parse(await readFile(path, "utf8")) as Partial<NodeAddresses>;
    if (typeof listenAddr !== "string" || typeof advertiseAddr !== "string") throw new Error("a field is missing");
    return { listenAddr, advertiseAddr };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new SwarmError(
      "FailedPrecondition",
      `${path} cannot be used (${errorText(error)}); restore it, or run \`tsswarm swarm leave --force\` and join again`,
      { cause: error },
    );
  }
}

export async function writeAddresses(dir: string, addresses: NodeAddresses): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const temporary = join(dir, `${FILE}.tmp`);
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(addresses, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(dir, FILE));
}

/** Forgets the cluster: identity and addresses, manager's log, agent's journal, network reservations. Images stay. */
export async function forgetCluster(stateDir: string): Promise<void> {
  for (const folder of ["manager", "agent", "network", "containers", "node"]) {
    await rm(join(stateDir, folder), { recursive: true, force: true });
  }
}
