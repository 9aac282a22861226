// PAX extended headers: records "LENGTH KEY=VALUE\n". Values stay bytes, because extended attributes are binary.

import { tarError } from "./tar-entry.ts";

/** Records by key (a byte string). The old sparse form's many records come out as one "GNU.sparse.map". */
export type PaxRecords = ReadonlyMap<string, Buffer>;

/** Decodes the body of an extended header that begins at `offset`. Throws SwarmError when it is damaged. */
export function decodePax(body: Buffer, offset: number): PaxRecords {
  const records = new Map<string, Buffer>();
  const sparse: string[] = [];
  let at = 0;
  while (at < body.length) {
    // A few writers pad with NULs.
    if (body[at] === 0 && body.subarray(at).every((byte) => byte === 0)) break;
    const blank = body.indexOf(0x20, at);
    const digits = blank < 0 || blank - at > 10 ? "" : body.toString("latin1", at, blank);
    const end = at + (/^[0-9]+$/.test(digits) ? Number(digits) : 0);
    if (blank < 0 || end <= blank + 1 || end > body.length || body[end - 1] !== 0x0a) {
      throw tarError(offset, "a record of an extended header has a wrong length");
    }
    const record = body.subarray(blank + 1, end - 1);
    const equals = record.indexOf(0x3d);
    if (equals <= 0) throw tarError(offset, "a record of an extended header has no key");
    const key = record.toString("latin1", 0, equals);
    const value = record.subarray(equals + 1);
    if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") sparse.push(value.toString("latin1"));
    else records.set(key, value);
    at = end;
  }
  if (sparse.length > 0) records.set("GNU.sparse.map", Buffer.from(sparse.join(","), "latin1"));
  return records;
}

/** A whole, not negative number from a record; undefined where there is none. */
export function paxNumber(records: PaxRecords, key: string, offset: number): number | undefined {
  const value = records.get(key)?.toString("latin1");
  if (value === undefined || value === "") return undefined;
  const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(number))
    throw tarError(offset, `"${key.slice(0, 40)}" of an extended header is not a number`);
  return number;
}

/** A name from a record as a byte string; undefined where there is none. */
export function paxName(records: PaxRecords, key: string, offset: number): string | undefined {
  const value = records.get(key)?.toString("latin1");
  if (value === undefined || value === "") return undefined;
  if (value.includes("\0")) throw tarError(offset, `"${key.slice(0, 40)}" of an extended header holds a NUL`);
  return value;
}

/** A time in seconds with a fraction, as nanoseconds; undefined where there is none. */
export function paxTimeNs(records: PaxRecords, key: string, offset: number): bigint | undefined {
  const value = records.get(key)?.toString("latin1");
  if (value === undefined || value === "") return undefined;
  const parts = /^(-?)([0-9]{1,12})(?:\.([0-9]{0,30}))?$/.exec(value);
  if (parts === null) throw tarError(offset, `"${key.slice(0, 40)}" of an extended header is not a time`);
  const fraction = (parts[3] ?? "").padEnd(9, "0").slice(0, 9);
  const ns = BigInt(parts[2] ?? "0") * 1_000_000_000n + BigInt(fraction);
  return parts[1] === "-" ? -ns : ns;
}

const XATTR = "SCHILY.xattr.";

/** The extended attributes among the records. */
export function paxXattrs(records: PaxRecords): ReadonlyMap<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of records) if (key.startsWith(XATTR)) xattrs.set(key.slice(XATTR.length), value);
  return xattrs;
}
