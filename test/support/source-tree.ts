// The project's own sources as text and as a graph of imports, for the rules that tidy.test.ts checks.

import { readFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

export interface SourceFile {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  /** Files of ours, relative to the root; packages and node: modules as they are written. */
  readonly imports: readonly string[];
}

/** Files that git knows or would add. */
export function projectFiles(): readonly string[] {
  const listing = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  return listing.split("\n").filter((path) => path !== "");
}

export function readSources(endings: RegExp): readonly SourceFile[] {
  const sources: SourceFile[] = [];
  for (const path of projectFiles().filter((file) => endings.test(file))) {
    let text: string;
    try {
      text = readFileSync(join(ROOT, path), "utf8");
    } catch (error) {
      // Listed but deleted in the working tree.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw error;
    }
    sources.push({ path, text, lines: text.split("\n").length - 1, imports: importsOf(path, text) });
  }
  return sources;
}

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s+"([^"]+)"|new URL\(\s*"(\.[^"]+\.ts)"/g;

function importsOf(path: string, text: string): readonly string[] {
  return [...text.matchAll(IMPORT)].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? match[4] ?? "";
    return specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier;
  });
}

/** Comments and string contents blanked, so that words in prose are not taken for code. */
export function codeOnly(text: string): string {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g,
    (piece) => (piece.startsWith("/") ? "" : '""'),
  );
}
