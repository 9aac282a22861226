// Writes a tar archive, the same bytes for the same input: ustar headers, with a PAX header where one is asked for or a value
// does not fit. Small: for images we build ourselves and for tests, so all content is in memory.

export interface TarMember {
  /** Byte string (latin1) or plain ASCII; at most 100 bytes, longer ones go to a PAX header. */
  readonly path: string;
  /** Type flag: "0" file (the default), "1" hardlink, "2" symlink, "3" character, "4" block, "5" directory, "6" fifo. */
  readonly type?: string;
  readonly linkPath?: string;
  /** Absent: 0755 for directories, else 0644. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970. Absent: 0. */
  readonly mtimeS?: number;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
  readonly data?: Uint8Array;
  /** Further PAX records. */
  readonly pax?: Readonly<Record<string, string | Uint8Array>>;
}

const BLOCK = 512;

/** The archive of `members` in their order, with its end. */
export function writeTar(members: readonly TarMember[]): Buffer {
  return Buffer.concat([...members.flatMap(memberBlocks), Buffer.alloc(2 * BLOCK)]);
}

/** One member without the archive's end: its PAX header where it needs one, its header, its data. */
export function memberBlocks(member: TarMember): Buffer[] {
  const records = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(member.pax ?? {})) records.set(key, Buffer.from(value as string));
  if (member.path.length > 100) records.set("path", Buffer.from(member.path, "latin1"));
  if ((member.linkPath ?? "").length > 100) records.set("linkpath", Buffer.from(member.linkPath ?? "", "latin1"));
  const body = Buffer.concat([...records].map(([key, value]) => paxRecord(key, value)));
  const extended =
    body.length === 0 ? [] : [tarHeader({ path: "PaxHeader", type: "x", size: body.length }), padded(body)];
  const data = Buffer.from(member.data ?? []);
  return [...extended, tarHeader({ ...member, size: data.length }), padded(data)];
}

/** A ustar header. */
export function tarHeader(fields: Omit<TarMember, "data" | "pax"> & { readonly size: number }): Buffer {
  const block = Buffer.alloc(BLOCK);
  const type = fields.type ?? "0";
  block.write(fields.path.slice(0, 100), 0, "latin1");
  octal(block, { at: 100, length: 8, value: fields.mode ?? (type === "5" ? 0o755 : 0o644) });
  octal(block, { at: 108, length: 8, value: fields.uid ?? 0 });
  octal(block, { at: 116, length: 8, value: fields.gid ?? 0 });
  octal(block, { at: 124, length: 12, value: fields.size });
  octal(block, { at: 136, length: 12, value: fields.mtimeS ?? 0 });
  block.write(type, 156, "latin1");
  block.write((fields.linkPath ?? "").slice(0, 100), 157, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  octal(block, { at: 329, length: 8, value: fields.deviceMajor ?? 0 });
  octal(block, { at: 337, length: 8, value: fields.deviceMinor ?? 0 });
  return sealed(block);
}

/** Puts the checksum into a header. */
export function sealed(block: Buffer): Buffer {
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

/** "LENGTH KEY=VALUE\n", where the length counts its own digits. */
export function paxRecord(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, "latin1"), value, Buffer.from("\n")]);
  let length = rest.length + 1;
  while (rest.length + String(length).length !== length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function octal(block: Buffer, field: { readonly at: number; readonly length: number; readonly value: number }): void {
  block.write(field.value.toString(8).padStart(field.length - 1, "0"), field.at, "latin1");
}

/** `data` filled up to whole blocks. */
export function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)]);
}
