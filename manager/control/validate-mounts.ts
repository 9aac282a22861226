// Whether a container's mounts can be made: kinds, absolute paths without "..", no two on one place.

import { Mount_Type, type Mount } from "../../proto/gen/specs.ts";
import { type Field, checkEnum, checkList, checkNumber, checkText, checkUnique, invalid, refused } from "./validate.ts";

const MOUNTS_MAX = 128;
const PATH_LENGTH_MAX = 4_095;
const TMPFS_BYTES_MAX = 2 ** 50;
const PROPAGATIONS: readonly string[] = ["", "private", "rprivate", "shared", "rshared", "slave", "rslave"];

export function checkMounts(field: Field<readonly Mount[]>): void {
  checkList(field, MOUNTS_MAX, checkMount);
  checkUnique(
    field,
    (mount) => tidyPath(mount.target),
    (target) => `Duplicate mount point: ${target}`,
  );
}

function checkMount({ path, value: mount }: Field<Mount>): void {
  checkEnum({ path: `${path}.type`, value: mount.type }, Mount_Type);
  checkPath({ path: `${path}.target`, value: mount.target });
  if (tidyPath(mount.target) === "/") throw refused(`${path}.target`, "a mount cannot replace the container's root");
  const source = { path: `${path}.source`, value: mount.source };
  if (mount.type === Mount_Type.BIND) {
    checkPath(source);
    if (mount.tmpfsSizeBytes !== 0 || mount.tmpfsMode !== undefined)
      throw refused(path, `mount ${mount.target}: tmpfs options are for mounts of type tmpfs`);
    if (!PROPAGATIONS.includes(mount.bindPropagation))
      throw invalid(
        { path: `${path}.bind_propagation`, value: mount.bindPropagation },
        `it must be one of ${PROPAGATIONS.slice(1).join(", ")}`,
      );
    return;
  }
  if (mount.source !== "") throw invalid(source, "a tmpfs has no source");
  if (mount.bindPropagation !== "" || mount.bindNonRecursive || mount.bindCreateSrc)
    throw refused(path, `mount ${mount.target}: bind options are for mounts of type bind`);
  checkNumber({ path: `${path}.tmpfs_size_bytes`, value: mount.tmpfsSizeBytes }, { min: 0, max: TMPFS_BYTES_MAX });
  checkNumber({ path: `${path}.tmpfs_mode`, value: mount.tmpfsMode ?? 0 }, { min: 0, max: 0o7777 });
}

function checkPath(field: Field<string>): void {
  checkText(field, PATH_LENGTH_MAX);
  if (!field.value.startsWith("/")) throw invalid(field, "it must be an absolute path");
  if (field.value.split("/").includes("..")) throw invalid(field, 'a path may not hold ".."');
}

function tidyPath(path: string): string {
  return `/${path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/")}`;
}
