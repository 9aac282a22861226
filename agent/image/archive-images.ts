// Which images an archive holds: `docker save`'s manifest.json, or the index.json of an OCI layout. Where both are, the first
// is taken, since it says the names.

import { SwarmError } from "../../proto/base/errors.ts";
import { familiarReference, parseImageReference } from "../../proto/model/image-reference.ts";
import type { Archive, ArchivePart } from "./archive.ts";
import {
  bad,
  digestHex,
  type ImageDocument,
  isSha256,
  parseImageDocument,
  parseJson,
  record,
  sha256,
  strings,
  text,
} from "./image-config.ts";

export interface ArchiveImage {
  /** "sha256:<hex>" of the configuration. */
  readonly id: string;
  readonly configBytes: Uint8Array;
  readonly document: ImageDocument;
  /** Layers' tars, perhaps compressed, lowest first; as many as the document has diff ids. */
  readonly layers: readonly ArchivePart[];
  /** Names in familiar form: "web:1". */
  readonly tags: readonly string[];
}

const IMAGES_MAX = 1_000;
const TAGS_MAX = 1_000;
/** An index may list indexes (several platforms), which list manifests. */
const INDEX_DEPTH_MAX = 3;

/** The images of `archive`, for machines of `architecture`. Throws InvalidArgument when it holds none or damaged ones. */
export async function archiveImages(archive: Archive, architecture: string): Promise<readonly ArchiveImage[]> {
  if (archive.has("manifest.json")) return dockerImages(archive);
  if (archive.has("index.json")) return ociImages(archive, architecture);
  throw new SwarmError(
    "InvalidArgument",
    'The archive holds neither manifest.json nor index.json, so it is no image; a plain file system goes in with "tsswarm image import".',
  );
}

async function dockerImages(archive: Archive): Promise<readonly ArchiveImage[]> {
  const manifest = parseJson(await archive.read("manifest.json"), "manifest.json");
  const images: ArchiveImage[] = [];
  for (const item of list(manifest, "manifest.json")) {
    const entry = record(item, "an entry of manifest.json");
    const configBytes = await archive.read(text(entry["Config"], '"Config" in manifest.json'));
    const layers = strings(entry["Layers"] ?? [], '"Layers" in manifest.json');
    const tags = strings(entry["RepoTags"] ?? [], '"RepoTags" in manifest.json');
    images.push(archiveImage({ configBytes, layers: layers.map((name) => archive.find(name)), tags }));
  }
  return images;
}

interface Descriptor {
  readonly digest: string;
  readonly architecture: string | undefined;
  readonly annotations: Readonly<Record<string, unknown>>;
}

async function ociImages(archive: Archive, architecture: string): Promise<readonly ArchiveImage[]> {
  const top = descriptors(parseJson(await archive.read("index.json"), "index.json"), "index.json");
  const images: ArchiveImage[] = [];
  for (const descriptor of top) {
    const manifest = await manifestOf(archive, { descriptor, architecture, depth: 0 });
    if (manifest === undefined) continue;
    const config = record(manifest["config"], '"config" of a manifest');
    const layers = list(manifest["layers"], '"layers" of a manifest').map((layer) =>
      archive.find(blobPath(record(layer, "a layer of a manifest")["digest"])),
    );
    const configBytes = await readBlob(archive, config["digest"]);
    images.push(archiveImage({ configBytes, layers, tags: annotatedName(descriptor.annotations) }));
  }
  if (images.length === 0) throw bad(`its archive has nothing for ${architecture}`);
  return images;
}

/** The manifest a descriptor leads to on this machine; undefined for what is none (attestations, other platforms). */
async function manifestOf(
  archive: Archive,
  at: { readonly descriptor: Descriptor; readonly architecture: string; readonly depth: number },
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const document = record(parseJson(await readBlob(archive, at.descriptor.digest), "a manifest"), "a manifest");
  if (document["manifests"] === undefined) return document;
  if (at.depth >= INDEX_DEPTH_MAX) throw bad("its indexes are nested too deep");
  const inner = descriptors(document, "an index");
  const fitting =
    inner.find((one) => one.architecture === at.architecture) ?? inner.find((one) => one.architecture === undefined);
  return fitting === undefined ? undefined : manifestOf(archive, { ...at, descriptor: fitting, depth: at.depth + 1 });
}

function descriptors(index: unknown, what: string): readonly Descriptor[] {
  return list(record(index, what)["manifests"], `"manifests" of ${what}`).map((item) => {
    const entry = record(item, `an entry of ${what}`);
    const platform = entry["platform"] === undefined ? undefined : record(entry["platform"], '"platform"');
    return {
      digest: text(entry["digest"], '"digest"'),
      architecture: platform === undefined ? undefined : text(platform["architecture"] ?? "", '"architecture"'),
      annotations: record(entry["annotations"] ?? {}, '"annotations"'),
    };
  });
}

/** containerd's and Docker's annotation holds the whole name; the standard's often only a tag, which names nothing. */
function annotatedName(annotations: Readonly<Record<string, unknown>>): readonly string[] {
  const whole = annotations["io.containerd.image.name"];
  if (typeof whole === "string") return [whole];
  const name = annotations["org.opencontainers.image.ref.name"];
  return typeof name === "string" && name.includes(":") ? [name] : [];
}

async function readBlob(archive: Archive, digest: unknown): Promise<Uint8Array> {
  const path = blobPath(digest);
  const bytes = await archive.read(path);
  if (sha256(bytes) !== digest) throw bad(`${path} in its archive holds other data than its name says`);
  return bytes;
}

function blobPath(digest: unknown): string {
  if (!isSha256(digest)) throw bad("its archive names a blob by what is no sha256 digest");
  return `blobs/sha256/${digestHex(digest)}`;
}

function archiveImage(image: {
  readonly configBytes: Uint8Array;
  readonly layers: readonly ArchivePart[];
  readonly tags: readonly string[];
}): ArchiveImage {
  const document = parseImageDocument(image.configBytes);
  if (document.diffIds.length !== image.layers.length) {
    throw bad(`it has ${image.layers.length} layers, but its configuration names ${document.diffIds.length}`);
  }
  if (image.tags.length > TAGS_MAX) throw bad(`it has more than ${TAGS_MAX} names`);
  const tags = image.tags.map((tag) => {
    const reference = parseImageReference(tag);
    return familiarReference({ ...reference, digest: undefined, tag: reference.tag ?? "latest" });
  });
  return { ...image, id: sha256(image.configBytes), document, tags: [...new Set(tags)] };
}

function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw bad(`${what} is not a list`);
  if (value.length > IMAGES_MAX) throw bad(`${what} has more than ${IMAGES_MAX} entries`);
  return value;
}
