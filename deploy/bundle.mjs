// Makes dist/: what ships. Two programs and their Workers as ES modules that share chunks, the native binaries and koffi.

import { cpSync, mkdirSync, rmSync, renameSync, existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const MADE = join(ROOT, "dist.new");
const DIST = join(ROOT, "dist");
const OLD = join(ROOT, "dist.old");

/** Packages that use require() inside find it here; ES modules have none of their own. */
const REQUIRE =
  'import { createRequire as tsswarmRequire } from "node:module"; const require = tsswarmRequire(import.meta.url);';

for (const left of [MADE, OLD]) rmSync(left, { recursive: true, force: true });
await build({
  absWorkingDir: ROOT,
  entryPoints: {
    tsswarm: "deploy/cli/start.ts",
    tsswarmd: "deploy/node/main.ts",
    "layer-worker": "native/layer-worker.ts",
    "network-worker": "native/network-worker.ts",
  },
  outdir: MADE,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  external: ["koffi"],
  banner: { js: REQUIRE },
  sourcemap: "linked",
  sourcesContent: false,
  legalComments: "none",
  logLevel: "warning",
});
mkdirSync(join(MADE, "node_modules"));
for (const name of ["koffi", "@koromix/koffi-linux-x64", "@koromix/koffi-linux-arm64"]) {
  const from = join(ROOT, "node_modules", name);
  if (existsSync(from)) cpSync(from, join(MADE, "node_modules", name), { recursive: true, dereference: true });
}
for (const name of ["tsswarm-shim", "tsswarm-init"]) {
  cpSync(join(ROOT, "native/build", name), join(MADE, "build", name));
}
cpSync(join(ROOT, "native/build/httpd"), join(MADE, "httpd"));
// The old one stands aside first: a command that starts meanwhile finds a whole bundle but for an instant.
if (existsSync(DIST)) renameSync(DIST, OLD);
renameSync(MADE, DIST);
rmSync(OLD, { recursive: true, force: true, maxRetries: 3 });
