// Reads extended attributes as a test sees them on disk, without the tools a machine may lack.

import { check, libc } from "../../../native/ffi.ts";

const llistxattr = libc<(path: Uint8Array, list: Uint8Array, size: number) => number>(
  "long llistxattr(const void *path, void *list, size_t size)",
);
const lgetxattr = libc<(path: Uint8Array, name: Uint8Array, value: Uint8Array, size: number) => number>(
  "long lgetxattr(const void *path, const void *name, void *value, size_t size)",
);

/** Attributes of `path` itself (a symlink's own), as "name=hex" in order of name. */
export function xattrsOf(path: string | Buffer): string[] {
  const file = Buffer.concat([Buffer.from(path as string), Buffer.of(0)]);
  const list = Buffer.alloc(65_536);
  const length = check(llistxattr(file, list, list.length), `cannot list attributes of ${path.toString()}`);
  const names = list
    .toString("latin1", 0, length)
    .split("\0")
    .filter((name) => name !== "");
  return names.sort().map((name) => {
    const value = Buffer.alloc(65_536);
    const size = check(lgetxattr(file, Buffer.from(`${name}\0`), value, value.length), `cannot read ${name}`);
    return `${name}=${value.toString("hex", 0, size)}`;
  });
}

const lsetxattr = libc<(path: Uint8Array, name: Uint8Array, value: Uint8Array, size: number, flags: number) => number>(
  "int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)",
);

/** Sets one extended attribute of `path` itself. */
export function setXattrOf(path: string, attribute: { readonly name: string; readonly value: Uint8Array }): void {
  const { name, value } = attribute;
  check(lsetxattr(Buffer.from(`${path}\0`), Buffer.from(`${name}\0`), value, value.length, 0), `cannot set ${name}`);
}
