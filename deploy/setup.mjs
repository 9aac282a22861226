// Brings everything a fresh machine lacks: Debian packages, the npm dependencies with the pinned Node, generated code, the
// native build, the bundle. Plain JavaScript, because the Node that runs it may be an old one. Each step has a stamp of its
// inputs, so that a second run only reads files. Arguments: the profile (run, test, bench) decides which packages are needed.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STAMPS = join(ROOT, "node_modules/.cache/tsswarm");

/** What each profile runs, by Debian package. The build is part of all of them. */
const PACKAGES = {
  run: ["gcc", "make", "libc6-dev", "busybox-static", "curl"],
  test: ["gcc", "make", "libc6-dev", "busybox-static", "curl", "iproute2", "nftables", "util-linux"],
  bench: [
    "gcc",
    "make",
    "libc6-dev",
    "busybox-static",
    "curl",
    "iproute2",
    "nftables",
    "util-linux",
    "crun",
    "etcd-server",
  ],
};

function fail(sentence) {
  console.error(`tsswarm set-up: ${sentence}`);
  process.exit(1);
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    ...options,
  });
  if (result.error) fail(`cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0) {
    fail(`${command} ${args.join(" ")} failed:\n${result.stdout ?? ""}${result.stderr ?? ""}`);
  }
  return result.stdout;
}

/** Every file below the folders, without what is made from others. */
function filesBelow(folders, matches) {
  const found = [];
  const walk = (folder) => {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!["node_modules", "build", "gen"].includes(entry.name)) walk(path);
      } else if (matches(path)) found.push(path);
    }
  };
  for (const folder of folders) walk(folder);
  return found.sort();
}

function hashOf(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(ROOT, file)));
  return hash.digest("hex");
}

/** Runs `make` unless its inputs are as they were when it last succeeded and all `outputs` exist. */
function step({ name, inputs, outputs, make }) {
  const stamp = join(STAMPS, name);
  const now = hashOf(inputs);
  const fresh = outputs.every((output) => existsSync(join(ROOT, output)));
  if (fresh && existsSync(stamp) && readFileSync(stamp, "utf8") === now) return;
  console.error(`tsswarm set-up: ${name}`);
  make();
  mkdirSync(STAMPS, { recursive: true });
  writeFileSync(stamp, now);
}

function installPackages(profile) {
  const wanted = PACKAGES[profile];
  if (wanted === undefined) fail(`no profile ${profile}; there are ${Object.keys(PACKAGES).join(", ")}.`);
  const query = spawnSync("dpkg-query", ["-W", "-f=${Package} ${db:Status-Abbrev}\n", ...wanted], { encoding: "utf8" });
  if (query.error)
    fail("this needs Debian's package tools (dpkg, apt-get); install the packages of the README by hand elsewhere.");
  const installed = new Set(
    query.stdout
      .split("\n")
      .filter((line) => / ii/.test(line))
      .map((line) => line.split(" ")[0]),
  );
  const missing = wanted.filter((name) => !installed.has(name));
  if (missing.length === 0) return;
  console.error(`tsswarm set-up: Debian packages ${missing.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["-q", "update"], { env });
  run("apt-get", ["-q", "install", "-y", "--no-install-recommends", ...missing], { env });
}

/** The first thing missing of what no installation can bring. */
function missingInKernel() {
  const filesystems = readFileSync("/proc/filesystems", "utf8");
  if (!/\toverlay$/m.test(filesystems) && spawnSync("modprobe", ["overlay"]).status !== 0) return "overlayfs";
  for (const namespace of ["mnt", "pid", "net", "uts", "ipc", "cgroup"]) {
    if (!existsSync(`/proc/self/ns/${namespace}`)) return `${namespace} namespaces`;
  }
  if (!/cgroup/.test(filesystems)) return "control groups";
  if (!/^Seccomp:/m.test(readFileSync("/proc/self/status", "utf8"))) return "seccomp";
  return undefined;
}

if (process.platform !== "linux") fail(`tsswarm runs on Linux; this is ${process.platform}.`);
if (!["x64", "arm64"].includes(process.arch)) fail(`tsswarm runs on x86-64 and arm64; this is ${process.arch}.`);
if (process.getuid() !== 0) fail("root is needed (containers are made here): run it again with sudo.");
const missing = missingInKernel();
if (missing !== undefined) fail(`this kernel has no ${missing}, which containers need.`);

installPackages(process.argv[2] ?? "run");

const NODE = "node_modules/.bin/node";
step({
  name: "dependencies",
  inputs: ["package-lock.json", "package.json"],
  outputs: [NODE],
  make: () =>
    run("npm", ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"], {
      env: { ...process.env, npm_config_ignore_scripts: "true" },
    }),
});
const protos = filesBelow(["proto"], (path) => /\.proto$|generate\.sh$/.test(path));
step({
  name: "generated code",
  inputs: [...protos, "package-lock.json"],
  outputs: ["proto/gen/control.ts"],
  make: () => run("sh", ["proto/generate.sh"]),
});
const programs = filesBelow(["native"], (path) => /\.[ch]$|Makefile$/.test(path));
step({
  name: "native build",
  inputs: programs,
  outputs: ["native/build/tsswarm-shim", "native/build/tsswarm-init", "native/build/httpd"],
  make: () => run("make", ["-s", "-C", "native"]),
});
step({
  name: "bundle",
  inputs: [
    ...filesBelow(["proto", "native", "manager", "agent", "deploy"], (path) => /\.ts$|\.mjs$/.test(path)),
    ...protos,
    ...programs,
    "package-lock.json",
  ],
  outputs: ["dist/tsswarm.js", "dist/tsswarmd.js"],
  make: () => run(join(ROOT, NODE), ["deploy/bundle.mjs"]),
});
