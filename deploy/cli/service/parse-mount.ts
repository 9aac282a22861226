// `--mount type=bind,source=/a,target=/b,readonly`: Docker's comma-separated form to a Mount.

import { parseBytes } from "../../../proto/base/units.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { Mount, Mount_Type } from "../../../proto/gen/specs.ts";
import { csvFields } from "./csv.ts";

type Draft = { -readonly [K in keyof Mount]: Mount[K] };

/** Throws InvalidArgument naming the field, its value and what would be valid. */
export function parseMount(text: string): Mount {
  const draft: Draft = { ...Mount.create(), type: Mount_Type.BIND };
  let typeGiven = false;
  for (const { key, value } of csvFields(text)) {
    if (key === "type") {
      typeGiven = true;
      draft.type = mountType(value ?? "");
    } else {
      setField(draft, { key, value, whole: text });
    }
  }
  if (!typeGiven) throw refused(text, "type is required: type=bind or type=tmpfs");
  if (draft.target === "") throw refused(text, "target is required");
  if (draft.type === Mount_Type.BIND && draft.source === "") throw refused(text, "a bind mount needs a source");
  if (draft.type === Mount_Type.TMPFS && draft.source !== "") throw refused(text, "a tmpfs mount has no source");
  return draft;
}

function mountType(value: string): Mount_Type {
  switch (value.toLowerCase()) {
    case "bind":
      return Mount_Type.BIND;
    case "tmpfs":
      return Mount_Type.TMPFS;
    default:
      throw new SwarmError("InvalidArgument", `invalid mount type "${value}": bind and tmpfs are supported`);
  }
}

function setField(
  draft: Draft,
  field: { readonly key: string; readonly value: string | undefined; readonly whole: string },
): void {
  const { key, value, whole } = field;
  switch (key) {
    case "source":
    case "src":
      draft.source = value ?? "";
      break;
    case "target":
    case "destination":
    case "dst":
      draft.target = value ?? "";
      break;
    case "readonly":
    case "ro":
      draft.readOnly = flag(key, value);
      break;
    case "bind-propagation":
      draft.bindPropagation = value ?? "";
      break;
    case "bind-recursive":
      draft.bindNonRecursive = value === "disabled";
      break;
    case "bind-nonrecursive":
      draft.bindNonRecursive = flag(key, value);
      break;
    case "bind-create-src":
      draft.bindCreateSrc = flag(key, value);
      break;
    case "tmpfs-size":
      draft.tmpfsSizeBytes = parseBytes(value ?? "");
      break;
    case "tmpfs-mode":
      draft.tmpfsMode = octal(value ?? "");
      break;
    default:
      throw refused(
        whole,
        `unexpected key '${key}'; there are type, source, target, readonly, bind-propagation, bind-recursive, bind-create-src, tmpfs-size and tmpfs-mode`,
      );
  }
}

function flag(key: string, value: string | undefined): boolean {
  if (value === undefined || value === "true" || value === "1") return true;
  if (value === "false" || value === "0") return false;
  throw new SwarmError("InvalidArgument", `invalid value for ${key}: ${value}: it must be true or false`);
}

function octal(value: string): number {
  if (!/^[0-7]{1,4}$/.test(value))
    throw new SwarmError("InvalidArgument", `invalid value for tmpfs-mode: ${value}: it must be octal, as 1777`);
  return Number.parseInt(value, 8);
}

function refused(text: string, reason: string): SwarmError {
  return new SwarmError("InvalidArgument", `invalid mount "${text}": ${reason}`);
}
