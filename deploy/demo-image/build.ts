// Builds the image of the demo as a docker-archive, the same bytes every time: Debian's static busybox below, our own small
// HTTP server above. Two images that differ only in VERSION, so that an update shows. Needs no network and no daemon.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SwarmError } from "../../proto/base/errors.ts";
import { type TarMember, writeTar } from "./tar-writer.ts";

export interface DemoImageOptions {
  /** Folder the archive is written to; made where it is missing. */
  readonly outDir: string;
  /** A statically linked busybox. Absent: Debian's busybox-static. */
  readonly busyboxPath?: string;
  /** The static HTTP server. Absent: the one built in native/. */
  readonly httpdPath?: string;
}

const NAME = "tsswarm/demo";
const VERSIONS = ["1", "2"];
/** 2026-01-01T00:00:00Z: every time in the image, so that the same parts give the same bytes. */
const BUILT_AT_S = 1_767_225_600;
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** Writes `<outDir>/demo-image.tar` with tsswarm/demo:1 and tsswarm/demo:2 and answers its path. */
export function buildDemoImage(options: DemoImageOptions): Promise<string> {
  return Promise.try(() => {
    const busybox = program(options.busyboxPath ?? "/bin/busybox", "install Debian's package busybox-static");
    const httpd = program(options.httpdPath ?? builtHttpd(), "run npm run setup, which builds it");
    const layers = [baseLayer(busybox), writeTar([file("httpd", readFileSync(httpd), 0o755)])];
    mkdirSync(options.outDir, { recursive: true });
    const path = join(options.outDir, "demo-image.tar");
    writeFileSync(path, archive(layers));
    return path;
  });
}

/** Beside the programs in a bundle, in native/build in the sources. */
function builtHttpd(): string {
  const bundled = fileURLToPath(new URL("./httpd", import.meta.url));
  return existsSync(bundled) ? bundled : fileURLToPath(new URL("../../native/build/httpd", import.meta.url));
}

function program(path: string, fix: string): string {
  if (!existsSync(path)) throw new SwarmError("FailedPrecondition", `${path} is missing; ${fix}.`);
  return path;
}

/** What every layer of a small Linux needs: busybox under all its names, users, a few folders. */
function baseLayer(busybox: string): Buffer {
  const applets = execFileSync(busybox, ["--list"], { encoding: "utf8" })
    .split("\n")
    .filter((name) => /^[\w.[-]+$/.test(name) && name !== "busybox")
    .sort();
  return writeTar([
    ...["bin", "dev", "etc", "proc", "root", "sys", "usr", "var"].map((name) => folder(name, 0o755)),
    folder("tmp", 0o1777),
    { path: "usr/bin", type: "2", linkPath: "../bin", mode: 0o777, mtimeS: BUILT_AT_S },
    file("bin/busybox", readFileSync(busybox), 0o755),
    ...applets.map((name) => ({
      path: `bin/${name}`,
      type: "2",
      linkPath: "busybox",
      mode: 0o777,
      mtimeS: BUILT_AT_S,
    })),
    file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    file("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
  ]);
}

function folder(path: string, mode: number): TarMember {
  return { path, type: "5", mode, mtimeS: BUILT_AT_S };
}

function file(path: string, content: string | Uint8Array, mode = 0o644): TarMember {
  return { path, data: Buffer.from(content as string), mode, mtimeS: BUILT_AT_S };
}

/** `docker save`'s form: configurations, layers, and the manifest that names them. */
function archive(layers: readonly Buffer[]): Buffer {
  const digests = layers.map((layer) => hex(layer));
  const images = VERSIONS.map((version) => {
    const config = Buffer.from(JSON.stringify(configuration(version, digests)));
    return { name: `${NAME}:${version}`, config, path: `${hex(config)}.json` };
  });
  const manifest = images.map((image) => ({
    Config: image.path,
    RepoTags: [image.name],
    Layers: digests.map((digest) => `${digest}/layer.tar`),
  }));
  return writeTar([
    ...layers.map((layer, index) => file(`${digests[index] ?? ""}/layer.tar`, layer)),
    ...images.map((image) => file(image.path, image.config)),
    file("manifest.json", JSON.stringify(manifest)),
  ]);
}

function configuration(version: string, digests: readonly string[]): object {
  const created = new Date(BUILT_AT_S * 1000).toISOString();
  return {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: "linux",
    created,
    config: {
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", `VERSION=${version}`],
      Cmd: ["/httpd"],
      ExposedPorts: { "80/tcp": {} },
      StopSignal: "SIGTERM",
      Labels: { "org.opencontainers.image.title": "tsswarm demo", "org.opencontainers.image.version": version },
    },
    rootfs: { type: "layers", diff_ids: digests.map((digest) => `sha256:${digest}`) },
    history: digests.map(() => ({ created })),
  };
}

function hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
