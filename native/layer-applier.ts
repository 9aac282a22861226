// Unpacks the entries of one image layer into a folder, in the form overlayfs wants: whiteouts become 0:0 devices, opaque
// marks an attribute. A layer is hostile until proven otherwise: nothing it says leads out of the folder, and it never
// replaces the folder itself. Blocking: for a Worker.

import { ftruncateSync, writeSync } from "node:fs";
import { defined } from "../proto/base/assert.ts";
import { SwarmError } from "../proto/base/errors.ts";
import {
  close,
  createFile,
  type DirFd,
  isWhiteout,
  makeDirectory,
  makeHardlink,
  makeNode,
  makeSymlink,
  openChild,
  openInRoot,
  openRoot,
  readLink,
  removeAll,
  setOwnerAndMode,
  setTimes,
  setTimesOf,
  setXattr,
} from "./layer-files.ts";
import { shownName, type TarEntry, type TarSink } from "./tar-entry.ts";

const WHITEOUT = ".wh.";
const WHITEOUT_META = ".wh..wh.";
const OPAQUE = ".wh..wh..opq";
const OPAQUE_ATTRIBUTE = "trusted.overlay.opaque";
/** Directories kept open, so that the files of one need no lookup each. */
const OPEN_DIRECTORIES_MAX = 200;
/** Dangling symlinks followed in one name, as many as the kernel follows symlinks. */
const LINKS_MAX = 40;

export class LayerApplier implements TarSink {
  readonly #root: DirFd;
  readonly #open = new Map<string, DirFd>();
  /** Times of directories are set last, since every file put into one changes it. */
  readonly #times = new Map<string, bigint>();
  #file: { readonly fd: number; readonly dir: DirFd; readonly name: string; readonly entry: TarEntry } | undefined;
  #bytes = 0;

  private constructor(root: DirFd) {
    this.#root = root;
  }

  /** Unpacks into `folder`, which exists and is empty. Call close() in any case. */
  static into(folder: string): LayerApplier {
    return new LayerApplier(openRoot(folder));
  }

  /** Sum of the lengths of all files so far. */
  get fileBytes(): number {
    return this.#bytes;
  }

  entry(entry: TarEntry): void {
    const parts = cleanPath(entry.path);
    const name = parts.at(-1);
    if (name === undefined) {
      this.#rootEntry(entry);
      return;
    }
    const above = parts.slice(0, -1);
    if (name.startsWith(WHITEOUT) && !name.startsWith(WHITEOUT_META)) {
      this.#whiteout(above, name.slice(WHITEOUT.length));
      return;
    }
    if (name === OPAQUE) {
      setOpaque(this.#directory(above), ".");
      return;
    }
    // What else begins so is bookkeeping of old builders.
    if (parts.some((part) => part.startsWith(WHITEOUT_META))) return;
    const dir = this.#directory(above);
    switch (entry.kind) {
      case "directory":
        this.#makeDirectory(dir, name);
        this.#finish(dir, name, entry);
        this.#times.set(parts.join("/"), entry.mtimeNs);
        return;
      case "file":
        this.#clear(dir, name);
        this.#file = { fd: createFile(dir, name), dir, name, entry };
        this.#bytes += entry.sizeBytes;
        return;
      case "symlink":
        if (entry.linkPath === "") throw refused(entry, "is a symlink to nothing");
        this.#clear(dir, name);
        makeSymlink(dir, { name, target: entry.linkPath });
        break;
      case "hardlink":
        this.#hardlink(dir, name, entry);
        return;
      case "character":
      case "block":
      case "fifo":
        this.#clear(dir, name);
        makeNode(dir, { name, kind: entry.kind, major: entry.deviceMajor, minor: entry.deviceMinor });
        break;
    }
    this.#finish(dir, name, entry);
    setTimes(dir, { name, mtimeNs: entry.mtimeNs });
  }

  data(bytes: Uint8Array, position: number): void {
    if (this.#file === undefined) return;
    for (let done = 0; done < bytes.length;) {
      done += writeSync(this.#file.fd, bytes, done, bytes.length - done, position + done);
    }
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    try {
      if (file.entry.sparse) ftruncateSync(file.fd, file.entry.sizeBytes);
    } finally {
      close(file.fd);
    }
    this.#finish(file.dir, file.name, file.entry);
    setTimes(file.dir, { name: file.name, mtimeNs: file.entry.mtimeNs });
  }

  /** After the last entry: sets the times of directories. */
  finish(): void {
    this.#closeDirectories();
    for (const [path, mtimeNs] of this.#times) {
      const dir = openInRoot(this.#root, path);
      // It may have been replaced by something else later in the layer.
      if (typeof dir === "string") continue;
      try {
        setTimesOf(dir, mtimeNs);
      } finally {
        close(dir);
      }
    }
  }

  /** Lets go of all descriptors. What was unpacked stays. */
  close(): void {
    if (this.#file !== undefined) close(this.#file.fd);
    this.#file = undefined;
    this.#closeDirectories();
    close(this.#root);
  }

  #closeDirectories(): void {
    for (const dir of this.#open.values()) close(dir);
    this.#open.clear();
  }

  /** Mode, owner and attributes of the layer's root; anything but a directory there is an attack. */
  #rootEntry(entry: TarEntry): void {
    if (entry.kind !== "directory") throw refused(entry, "would replace the root of the layer");
    this.#finish(this.#directory([]), ".", entry);
    this.#times.set("", entry.mtimeNs);
  }

  /** Owner, mode and attributes; the attributes last, because chown takes file capabilities away. */
  #finish(dir: DirFd, name: string, entry: TarEntry): void {
    const mode = entry.kind === "symlink" ? undefined : entry.mode;
    setOwnerAndMode(dir, { name, uid: entry.uid, gid: entry.gid, mode });
    for (const [attribute, value] of entry.xattrs) {
      // These steer overlayfs; an image has no say in them.
      if (/^(trusted|user)\.overlay\./.test(attribute)) continue;
      const result = setXattr(dir, { name, attribute, value });
      const userAttributeOnSpecial =
        attribute.startsWith("user.") && entry.kind !== "file" && entry.kind !== "directory";
      if (result === "EPERM" && !userAttributeOnSpecial) {
        throw refused(entry, `has the attribute ${shownName(attribute)}, which this machine does not allow to be set`);
      }
    }
  }

  /** Makes way for a new entry. */
  #clear(dir: DirFd, name: string): void {
    // A directory or symlink that goes may be on the way to others that are open.
    if (removeAll(dir, name)) this.#forget(dir);
  }

  /** Closes all open directories but those in `keep`. */
  #forget(...keep: readonly DirFd[]): void {
    for (const [path, dir] of this.#open) {
      if (keep.includes(dir)) continue;
      close(dir);
      this.#open.delete(path);
    }
  }

  #makeDirectory(dir: DirFd, name: string): void {
    if (makeDirectory(dir, name, 0o755) === "made") return;
    const existing = openChild(dir, name);
    if (typeof existing !== "string") {
      close(existing);
      return;
    }
    const hides = isWhiteout(dir, name);
    this.#clear(dir, name);
    makeDirectory(dir, name, 0o755);
    // The whiteout hid what lower layers have there; the directory has to go on doing so.
    if (hides) setOpaque(dir, name);
  }

  /** A whiteout hides what lower layers have; what this layer has there stays, wherever in the archive the whiteout is. */
  #whiteout(above: readonly string[], name: string): void {
    if (name === "" || name === "." || name === "..") {
      throw new SwarmError("InvalidArgument", `The layer holds a whiteout of ${shownName(name)}, which is no name.`);
    }
    const dir = this.#directory(above);
    const existing = openChild(dir, name);
    if (typeof existing !== "string") {
      close(existing);
      setOpaque(dir, name);
    } else if (existing === "ENOENT") {
      makeNode(dir, { name, kind: "character", major: 0, minor: 0 });
    }
  }

  #hardlink(dir: DirFd, name: string, entry: TarEntry): void {
    const target = cleanPath(entry.linkPath);
    const targetName = target.at(-1);
    if (targetName === undefined) throw refused(entry, "is a hardlink to the root");
    const targetDir = this.#directory(target.slice(0, -1), { keep: dir });
    if (targetDir === dir && targetName === name) throw refused(entry, "is a hardlink to itself");
    if (removeAll(dir, name)) this.#forget(dir, targetDir);
    const result = makeHardlink({ dir: targetDir, name: targetName }, { dir, name });
    if (result === "ENOENT") {
      throw refused(entry, `is a hardlink to ${shownName(entry.linkPath)}, which is not in the layer before it`);
    }
    if (result === "EPERM") throw refused(entry, `is a hardlink to ${shownName(entry.linkPath)}, which is a directory`);
  }

  /** The open directory at `parts`, made with its parents where it is missing. Valid until the next call. */
  #directory(parts: readonly string[], options: { readonly keep?: DirFd; readonly links?: number } = {}): DirFd {
    const path = parts.join("/");
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    let dir = openInRoot(this.#root, path);
    if (dir === "ENOENT" || dir === "ENOTDIR") dir = this.#makeMissing(parts, options);
    if (typeof dir === "string") {
      throw new SwarmError(
        "InvalidArgument",
        `The layer puts something below ${shownName(path)}, which is no directory there (${dir}).`,
      );
    }
    if (this.#open.size >= OPEN_DIRECTORIES_MAX) {
      for (const [oldPath, old] of this.#open) {
        if (old === options.keep) continue;
        close(old);
        this.#open.delete(oldPath);
        break;
      }
    }
    this.#open.set(path, dir);
    return dir;
  }

  /** Makes the directory at `parts` where nothing, a whiteout or a dangling symlink is. */
  #makeMissing(
    parts: readonly string[],
    options: { readonly keep?: DirFd; readonly links?: number },
  ): ReturnType<typeof openInRoot> {
    const above = parts.slice(0, -1);
    const name = defined(parts.at(-1), "last part of a path that is not the root");
    const parent = this.#directory(above, options);
    if (isWhiteout(parent, name)) {
      this.#makeDirectory(parent, name);
    } else if (makeDirectory(parent, name, 0o755) === "EEXIST") {
      const target = readLink(parent, name);
      if (target === undefined) return "ENOTDIR";
      const links = (options.links ?? 0) + 1;
      if (links > LINKS_MAX) return "ELOOP";
      // A symlink to nothing yet: what it names is made, inside the root.
      this.#directory(target.startsWith("/") ? cleanPath(target) : cleanPath([...above, target].join("/")), {
        ...options,
        links,
      });
    }
    return openInRoot(this.#root, parts.join("/"));
  }
}

/** Makes overlayfs hide what lower layers have in a directory. */
function setOpaque(dir: DirFd, name: string): void {
  if (setXattr(dir, { name, attribute: OPAQUE_ATTRIBUTE, value: Buffer.from("y") }) === "set") return;
  throw new SwarmError(
    "FailedPrecondition",
    "The file system that holds the images keeps no trusted extended attributes, which overlayfs needs; use ext4 or xfs.",
  );
}

/** Parts of a path with ".." clamped at the root, as in a chroot. */
export function cleanPath(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return parts;
}

function refused(entry: TarEntry, why: string): SwarmError {
  return new SwarmError("InvalidArgument", `The layer's entry ${shownName(entry.path)} ${why}.`);
}
