// The configuration document of an image (OCI image-spec, and Docker's of the same shape): what is read from it, checked, and
// how ids follow from it. Knows no store and no file.

import { createHash } from "node:crypto";
import { SwarmError } from "../../proto/base/errors.ts";

/** How an image wants to be run. Builders write null for what is absent. */
export interface ImageRunConfig {
  readonly User?: string | null;
  /** "80/tcp": {} */
  readonly ExposedPorts?: Readonly<Record<string, object>> | null;
  /** KEY=VALUE each. */
  readonly Env?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Volumes?: Readonly<Record<string, object>> | null;
  readonly WorkingDir?: string | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly StopSignal?: string | null;
  readonly Healthcheck?: ImageHealthcheck | null;
}

export interface ImageHealthcheck {
  /** ["NONE"], ["CMD", ...] or ["CMD-SHELL", command]. */
  readonly Test?: readonly string[] | null;
  /** Times in nanoseconds, as in Docker's documents; 0: the default. */
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

export interface ImageDocument {
  readonly architecture: string;
  readonly os: string;
  /** RFC 3339; "" where the document has none. */
  readonly created: string;
  readonly config: ImageRunConfig;
  /** "sha256:<hex>" of each layer's uncompressed tar, lowest first. */
  readonly diffIds: readonly string[];
}

/** Longest configuration or manifest that is read. */
export const DOCUMENT_BYTES_MAX: number = 4 * 1024 * 1024;
/** Docker's limit; the overlay of the container core takes 500. */
const LAYERS_MAX = 125;

const SHA256 = /^sha256:[0-9a-f]{64}$/;

export function isSha256(text: unknown): text is string {
  return typeof text === "string" && SHA256.test(text);
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The hex digits of "sha256:<hex>". */
export function digestHex(digest: string): string {
  return digest.slice("sha256:".length);
}

/** Ids of the stacks up to each layer, lowest first: what a layer is unpacked as depends on nothing else (OCI ChainID). */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`));
  }
  return chain;
}

/** Reads and checks a configuration. Throws InvalidArgument naming what is wrong with it. */
export function parseImageDocument(bytes: Uint8Array): ImageDocument {
  const document = record(parseJson(bytes, "the image configuration"), "the image configuration");
  const rootfs = record(document["rootfs"], '"rootfs" of the image configuration');
  const diffIds = strings(rootfs["diff_ids"] ?? [], '"rootfs.diff_ids"');
  if (!diffIds.every(isSha256))
    throw bad('"rootfs.diff_ids" of the image configuration holds what is no sha256 digest');
  if (diffIds.length > LAYERS_MAX)
    throw bad(`the image has ${diffIds.length} layers; at most ${LAYERS_MAX} can be run`);
  const os = text(document["os"] ?? "linux", '"os"');
  if (os !== "linux") throw bad(`the image is made for ${JSON.stringify(os)}; only linux images can run here`);
  return {
    architecture: text(document["architecture"] ?? "", '"architecture"'),
    os,
    created: text(document["created"] ?? "", '"created"'),
    config: runConfig(document["config"] ?? {}),
    diffIds,
  };
}

function runConfig(value: unknown): ImageRunConfig {
  const config = record(value, '"config" of the image configuration');
  for (const key of ["Env", "Entrypoint", "Cmd"]) if (isSet(config[key])) strings(config[key], `"config.${key}"`);
  for (const key of ["User", "WorkingDir", "StopSignal"]) if (isSet(config[key])) text(config[key], `"config.${key}"`);
  for (const key of ["ExposedPorts", "Volumes"]) {
    if (isSet(config[key])) record(config[key], `"config.${key}"`);
  }
  if (isSet(config["Healthcheck"])) checkHealthcheck(record(config["Healthcheck"], '"config.Healthcheck"'));
  if (isSet(config["Labels"])) {
    for (const label of Object.values(record(config["Labels"], '"config.Labels"'))) text(label, '"config.Labels"');
  }
  return config;
}

function checkHealthcheck(check: Readonly<Record<string, unknown>>): void {
  if (isSet(check["Test"])) strings(check["Test"], '"config.Healthcheck.Test"');
  for (const key of ["Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"]) {
    const value = check[key] ?? 0;
    if (!Number.isFinite(value) || Number(value) < 0)
      throw bad(`"config.Healthcheck.${key}" is not a number from 0 up`);
  }
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** JSON from outside. Throws InvalidArgument when it is none. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
  } catch (error) {
    throw new SwarmError("InvalidArgument", `The image is damaged: ${what} is not JSON.`, { cause: error });
  }
}

export function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(`${what} is not an object`);
  return value as Readonly<Record<string, unknown>>;
}

export function strings(value: unknown, what: string): readonly string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    throw bad(`${what} is not a list of strings`);
  }
  return value;
}

export function text(value: unknown, what: string): string {
  if (typeof value !== "string" || value.includes("\0")) throw bad(`${what} is not a string`);
  return value;
}

/** The error for an image whose documents are not what they should be. */
export function bad(what: string): SwarmError {
  return new SwarmError("InvalidArgument", `The image is refused: ${what}.`);
}
