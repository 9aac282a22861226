// Where the conformance data is. In a checkout without it, what needs it is skipped with a loud line; where CI asks for
// it by name it must be there.

import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";

const ROOT = resolve(import.meta.dirname, "../../..");

/** The files of one folder of the data, or why there are none. */
export function conformanceFiles(
  folder: string,
  { ending = ".txt" }: { readonly ending?: string } = {},
): { readonly kind: "files"; readonly files: readonly string[] } | { readonly kind: "absent"; readonly where: string } {
  const named = process.env["RAFT_CONFORMANCE_DIR"];
  const where = join(resolve(ROOT, named ?? "../shared/conformance"), folder);
  if (!existsSync(where)) return { kind: "absent", where };
  const files = readdirSync(where).filter((name) => name.endsWith(ending));
  return { kind: "files", files: files.sort().map((name) => join(where, name)) };
}

/** Declares one test per file. Without the data: a skipped test, or a failing one in CI that names the folder. */
export function testEachFile(
  folder: string,
  run: (file: string) => void,
  options: { readonly ending?: string } = {},
): void {
  const found = conformanceFiles(folder, options);
  if (found.kind === "files") {
    for (const file of found.files)
      test(`${folder}/${file.slice(file.lastIndexOf("/") + 1)} comes out as expected`, () => run(file));
    return;
  }
  const isRequired = process.env["CI"] !== undefined && process.env["RAFT_CONFORMANCE_DIR"] !== undefined;
  const reason = `NO CONFORMANCE DATA: ${found.where} is absent, so ${folder} proves nothing here`;
  if (isRequired) {
    test(`${folder} needs its data`, () => {
      throw new Error(reason);
    });
    return;
  }
  test(`${folder} needs its data`, { skip: reason }, () => undefined);
}
