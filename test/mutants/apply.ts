// Applies a mutant's edits to a folder that holds a copy of manager/raft.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mutant } from "./mutants.ts";

/** The edited files by name. Throws where an edit's text does not occur exactly once: the list is to follow the code. */
export function editedFiles(mutant: Mutant, raftFolder: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const { file, find, replace } of mutant.edits) {
    const text = texts.get(file) ?? readFileSync(join(raftFolder, file), "utf8");
    const parts = text.split(find);
    if (parts.length !== 2) {
      throw new Error(`the mutant that ${mutant.it} no longer fits: ${file} holds ${parts.length - 1} times: ${find}`);
    }
    texts.set(file, parts.join(replace));
  }
  return texts;
}

export function applyMutant(mutant: Mutant, raftFolder: string): void {
  for (const [file, text] of editedFiles(mutant, raftFolder)) writeFileSync(join(raftFolder, file), text);
}
