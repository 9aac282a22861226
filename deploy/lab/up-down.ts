// `lab up` and `lab down`. Up undoes itself when it fails; down removes everything it can and then says what it could not.

import { existsSync } from "node:fs";
import { rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { buildDemoImage } from "../demo-image/build.ts";
import { formCluster, loadImage, untilUp } from "./cluster.ts";
import { type Lab, cgroupRoot, labDir, runDir, saveLab } from "./lab.ts";
import { makeSwitch, plugNode, removeWires } from "./network.ts";
import { powerOff, removeCgroups, startDaemon } from "./process.ts";

export async function labUp(lab: Lab, signal: AbortSignal): Promise<void> {
  if (existsSync(labDir(lab.name)))
    throw new SwarmError(
      "AlreadyExists",
      `lab "${lab.name}" exists; take it down with 'tsswarm lab down --name ${lab.name}' or choose another --name`,
    );
  try {
    await saveLab(lab);
    await makeSwitch(lab, signal);
    for (const node of lab.nodes) await plugNode(lab, node, signal);
    const [image] = await Promise.all([
      buildDemoImage({ outDir: labDir(lab.name) }),
      ...lab.nodes.map(async (node) => {
        await startDaemon(lab, node);
        await untilUp(lab, node, signal);
      }),
    ]);
    await formCluster(lab, signal);
    for (const node of lab.nodes) await loadImage(lab, node, image, signal);
  } catch (error) {
    await labDown(lab, AbortSignal.timeout(60_000));
    throw error;
  }
}

/** Processes, namespaces, cgroups, files: in the order in which each lets go of the next. */
export async function labDown(lab: Lab, signal: AbortSignal): Promise<void> {
  const failures: string[] = [];
  const attempt = async (what: () => Promise<void>): Promise<void> => {
    try {
      await what();
    } catch (error) {
      failures.push(errorText(error));
    }
  };
  for (const node of lab.nodes) await attempt(() => powerOff(lab, node.name));
  await attempt(() => removeWires(lab, signal));
  await attempt(() => removeCgroups(cgroupRoot(lab.name), signal));
  await attempt(() => rm(runDir(lab.name), { recursive: true, force: true }));
  if (failures.length === 0) await attempt(() => rm(labDir(lab.name), { recursive: true, force: true }));
  await attempt(() => removeIfEmpty(join(labDir(lab.name), "..")));
  await attempt(() => removeIfEmpty(join(runDir(lab.name), "..")));
  if (failures.length > 0)
    throw new SwarmError(
      "Internal",
      `lab "${lab.name}" could not be removed whole: ${failures.join("; ")}. Run 'tsswarm lab down --name ${lab.name}' again.`,
    );
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!["ENOTEMPTY", "ENOENT", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
