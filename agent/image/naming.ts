// Names and ids of the images of a node: what a text means, what a new name does to an old one, and what may be removed, by
// Docker's rules and in its words. Pure: images in, images out.

import { SwarmError } from "../../proto/base/errors.ts";
import { familiarReference, parseImageReference } from "../../proto/model/image-reference.ts";
import type { Images, StoredImage } from "./image-index.ts";

export type Found =
  | { readonly kind: "tag"; readonly image: StoredImage; readonly tag: string }
  | { readonly kind: "id"; readonly image: StoredImage };

const ID = /^(?:sha256:)?([0-9a-f]{64})$/;
const ID_PREFIX = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/** What `ref` names: a whole id, a name, else the start of an id. Throws InvalidArgument for texts that are neither. */
export function findImage(images: Images, ref: string): Found | undefined {
  const whole = ID.exec(ref)?.[1];
  if (whole !== undefined) {
    const image = images.get(`sha256:${whole}`);
    return image === undefined ? undefined : { kind: "id", image };
  }
  const prefix = ID_PREFIX.exec(ref)?.[1];
  if (!ref.startsWith("sha256:")) {
    const reference = parseImageReference(ref);
    // No registry was asked, so nothing is known of digests of manifests.
    if (reference.digest !== undefined) return undefined;
    const tag = familiarReference(reference);
    for (const image of images.values()) if (image.tags.includes(tag)) return { kind: "tag", image, tag };
  }
  if (prefix === undefined) return undefined;
  const fitting = [...images.values()].filter((image) => image.id.startsWith(`sha256:${prefix}`));
  if (fitting.length > 1) {
    throw new SwarmError(
      "InvalidArgument",
      `image id prefix ${ref} is ambiguous: ${fitting.length} images begin with it`,
    );
  }
  return fitting[0] === undefined ? undefined : { kind: "id", image: fitting[0] };
}

/** As findImage, but what is not there is an error. */
export function needImage(images: Images, ref: string): Found {
  const found = findImage(images, ref);
  if (found === undefined) throw new SwarmError("NotFound", `No such image: ${ref}`);
  return found;
}

/** The familiar form of a name to give. Throws InvalidArgument. */
export function tagToGive(text: string): string {
  const reference = parseImageReference(text);
  if (reference.digest !== undefined) {
    throw new SwarmError("InvalidArgument", `refusing to create a tag with a digest reference (${text})`);
  }
  return familiarReference(reference);
}

/** `images` with `image` in it under `tags` as well; another image loses them and stays without a name. */
export function withTags(images: Images, image: StoredImage, tags: readonly string[]): Images {
  const next = new Map<string, StoredImage>();
  for (const [id, other] of images) {
    const lost = other.tags.some((tag) => tags.includes(tag));
    next.set(id, lost ? { ...other, tags: other.tags.filter((tag) => !tags.includes(tag)) } : other);
  }
  const own = next.get(image.id)?.tags ?? [];
  return next.set(image.id, { ...image, tags: [...new Set([...own, ...tags])].sort() });
}

export interface Removal {
  readonly images: Images;
  readonly untagged: readonly string[];
  /** Whether the image itself goes. */
  readonly deleted: string | undefined;
}

/** What removing `ref` does. Throws FailedPrecondition with Docker's "conflict: ..." when it must not be. */
export function planRemoval(
  images: Images,
  options: { readonly ref: string; readonly force: boolean; readonly containers: (id: string) => number },
): Removal {
  const found = needImage(images, options.ref);
  const { image } = found;
  const shortId = image.id.slice("sha256:".length, "sha256:".length + 12);
  const users = options.containers(image.id);
  const usedBy = users === 1 ? "a container of this node is" : `${users} containers of this node are`;
  if (found.kind === "id") {
    if (users > 0) {
      throw conflict(`unable to delete ${shortId} (cannot be forced) - ${usedBy} using it`);
    }
    if (image.tags.length > 1 && !options.force) {
      throw conflict(`unable to delete ${shortId} (must be forced) - image is referenced in multiple repositories`);
    }
    return { images: without(images, image.id), untagged: image.tags, deleted: image.id };
  }
  const tags = image.tags.filter((tag) => tag !== found.tag);
  if (tags.length === 0 && users > 0 && !options.force) {
    throw conflict(
      `unable to remove repository reference "${found.tag}" (must force) - ${usedBy} using its referenced image ${shortId}`,
    );
  }
  if (tags.length > 0 || users > 0) {
    return { images: new Map(images).set(image.id, { ...image, tags }), untagged: [found.tag], deleted: undefined };
  }
  return { images: without(images, image.id), untagged: [found.tag], deleted: image.id };
}

function without(images: Images, id: string): Images {
  const next = new Map(images);
  next.delete(id);
  return next;
}

function conflict(what: string): SwarmError {
  return new SwarmError("FailedPrecondition", `conflict: ${what}`);
}
