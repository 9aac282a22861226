// Names of images: Docker's grammar (distribution/reference), its defaults (docker.io, library/, latest) and its familiar
// short form, so that `web:1` goes in as docker.io/library/web:1 and comes out as `web:1`. Knows no image and no registry.

import { SwarmError } from "../base/errors.ts";

/** A checked and completed name. */
export interface ImageReference {
  /** Registry host, with a port where one was given: "docker.io", "localhost:5000". */
  readonly domain: string;
  /** Path in the registry: "library/web". */
  readonly path: string;
  /** Absent only when a digest was given without a tag. */
  readonly tag: string | undefined;
  /** "sha256:<hex>" where one was given. */
  readonly digest: string | undefined;
}

const DEFAULT_DOMAIN = "docker.io";
const DEFAULT_TAG = "latest";
/** Longest repository name, domain included (Docker's limit). */
const NAME_LENGTH_MAX = 255;
/** Longest text looked at: name, tag and the longest digest, with room to spare. */
const REFERENCE_LENGTH_MAX = 1024;

const DOMAIN_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = new RegExp(
  String.raw`^(?:${DOMAIN_LABEL}(?:\.${DOMAIN_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]{1,5})?$`,
);
const PATH_PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/;

/**
 * Reads `[domain/]path[:tag][@digest]`, completes domain, "library/" and the tag "latest" (not beside a digest).
 * Throws InvalidArgument with Docker's words: "invalid reference format", "repository name ... must be lowercase".
 */
export function parseImageReference(text: string): ImageReference {
  if (text.length === 0 || text.length > REFERENCE_LENGTH_MAX) throw invalid(text);
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  if (digest !== undefined && !DIGEST.test(digest)) throw invalid(text, "the digest is not valid");
  // A colon after the last slash begins the tag; one before it belongs to the registry's port.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  const name = colon < 0 ? named : named.slice(0, colon);
  if (tag !== undefined && !TAG.test(tag)) throw invalid(text, "the tag is not valid");
  if (/^[0-9a-f]{64}$/.test(name)) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid repository name (${name}), cannot specify 64-byte hexadecimal strings`,
    );
  }
  const { domain, path } = splitDomain(name);
  if (!DOMAIN.test(domain)) throw invalid(text);
  if (path !== path.toLowerCase()) throw invalid(text, `repository name (${path}) must be lowercase`);
  if (!path.split("/").every((part) => PATH_PART.test(part))) throw invalid(text);
  if (domain.length + 1 + path.length > NAME_LENGTH_MAX) {
    throw invalid(text, `repository name must not be more than ${NAME_LENGTH_MAX} characters`);
  }
  return { domain, path, tag: tag ?? (digest === undefined ? DEFAULT_TAG : undefined), digest };
}

/** The repository as people write it: "web" for docker.io/library/web, "team/web", "localhost:5000/web". */
export function familiarRepository(reference: ImageReference): string {
  if (reference.domain !== DEFAULT_DOMAIN) return `${reference.domain}/${reference.path}`;
  const path = reference.path;
  return path.startsWith("library/") && !path.slice("library/".length).includes("/")
    ? path.slice("library/".length)
    : path;
}

/** The whole name as people write it: "web:1", "web@sha256:...". Parsing it again gives the same reference. */
export function familiarReference(reference: ImageReference): string {
  return familiarRepository(reference) + suffix(reference);
}

/** The whole name with nothing left out: "docker.io/library/web:1". */
export function fullReference(reference: ImageReference): string {
  return `${reference.domain}/${reference.path}${suffix(reference)}`;
}

function suffix(reference: ImageReference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  return tag + (reference.digest === undefined ? "" : `@${reference.digest}`);
}

/** The first part is a registry when it looks like a host: a dot, a colon, "localhost" or a capital letter in it. */
function splitDomain(name: string): { readonly domain: string; readonly path: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  const domain = isHost ? first : DEFAULT_DOMAIN;
  const path = isHost ? name.slice(slash + 1) : name;
  if (domain !== DEFAULT_DOMAIN && domain !== "index.docker.io") return { domain, path };
  return { domain: DEFAULT_DOMAIN, path: path.includes("/") ? path : `library/${path}` };
}

function invalid(text: string, why?: string): SwarmError {
  const shown = text.length > 80 ? `${text.slice(0, 80)}...` : text;
  return new SwarmError(
    "InvalidArgument",
    `invalid reference format${why === undefined ? "" : `: ${why}`} (image name ${JSON.stringify(shown)})`,
  );
}
