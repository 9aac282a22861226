// Lines of a container's log file as native/src/log.h has them: `<unix us> <o|e> <F|P> <data>`, and `# N` for the number of the
// line that follows. Pure.

/** A line a program wrote, or a part of one. */
export interface LogLine {
  readonly kind: "line";
  /** Unix time in microseconds. */
  readonly atUs: number;
  readonly stderr: boolean;
  /** Without the newline; at most 16 KiB. */
  readonly data: Buffer;
  /** No newline followed: more of the line is in the next record of its stream, or the program ended. */
  readonly partial: boolean;
}

export type LogFileLine = LogLine | { readonly kind: "number"; readonly next: number };

/** A line of the file, without its newline; undefined for what is none (a crash of the machine may leave such). */
export function parseLogLine(bytes: Buffer): LogFileLine | undefined {
  if (bytes[0] === 0x23) {
    const number = /^# (\d{1,15})$/.exec(bytes.toString("latin1", 0, 20));
    return number === null ? undefined : { kind: "number", next: Number(number[1]) };
  }
  const blank = bytes.indexOf(0x20);
  if (blank < 1 || blank > 17 || bytes.length < blank + 5) return undefined;
  const atUs = Number(bytes.toString("latin1", 0, blank));
  const head = bytes.toString("latin1", blank, blank + 5);
  if (!Number.isSafeInteger(atUs) || !/^ [oe] [FP] $/.test(head)) return undefined;
  return {
    kind: "line",
    atUs,
    stderr: head[1] === "e",
    partial: head[3] === "P",
    data: Buffer.from(bytes.subarray(blank + 5)),
  };
}
