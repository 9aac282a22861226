// The log of one container as frames: in the order it was written, several lines to a frame, followed until the container has
// ended. What rotation took away is told where it is missing.

import { type LogLineRecord, readLogs } from "../../native/index.ts";
import { childOf } from "../../proto/base/abort.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { Notice } from "../../proto/base/notice.ts";
import type { LogLine, LogsOpen, StreamFrame } from "../../proto/gen/streams.ts";

/** Lines gather until they hold this much; with one more line of 16 KiB a frame stays within 64 KiB. */
const BATCH_BYTES = 49_152;
const BATCH_LINES = 512;
/** Lines that come while a frame is not full wait this long for others. */
const GATHER_MS = 5;

export interface LogSource {
  readonly logPath: string;
  readonly clock: Clock;
  /** True once the container writes no more. */
  readonly ended: () => boolean;
}

/** Frames `logs` and `dropped`. A log that is not there is empty. */
export async function* serveLogs(
  open: LogsOpen,
  source: LogSource,
  signal: AbortSignal,
): AsyncGenerator<StreamFrame, void, undefined> {
  const both = !open.stdout && !open.stderr;
  const child = childOf(signal);
  const lines = readLogs(
    {
      path: source.logPath,
      follow: open.follow,
      tail: open.tail,
      sinceMs: open.sinceMs,
      stdout: open.stdout || both,
      stderr: open.stderr || both,
      clock: source.clock,
      ended: source.ended,
    },
    child.signal,
  );
  const gathered = new Gathered();
  const pumping = pump(lines, gathered, child.signal);
  try {
    for (;;) {
      if (gathered.empty && gathered.over) break;
      if (gathered.empty) await gathered.more.wait(signal);
      else if (!gathered.full && !gathered.over) await source.clock.sleep(GATHER_MS, signal);
      yield* frames(gathered.take());
    }
    await pumping;
  } finally {
    child.abort(new SwarmError("Cancelled", "the reader of the log is gone"));
    child.release();
    await pumping.catch(() => undefined);
  }
}

/** Between the file and the frames; bounded, so that a slow reader holds the reading back. */
class Gathered {
  /** Raised when there is something, or nothing more. */
  readonly more = new Notice();
  readonly #room = new Notice();
  #records: LogLineRecord[] = [];
  #bytes = 0;
  #over = false;

  get empty(): boolean {
    return this.#records.length === 0;
  }

  get full(): boolean {
    return this.#bytes >= BATCH_BYTES || this.#records.length >= BATCH_LINES;
  }

  get over(): boolean {
    return this.#over;
  }

  async put(record: LogLineRecord, signal: AbortSignal): Promise<void> {
    while (this.full) await this.#room.wait(signal);
    this.#records.push(record);
    this.#bytes += record.kind === "line" ? record.data.length : 0;
    this.more.raise();
  }

  take(): LogLineRecord[] {
    const records = this.#records;
    this.#records = [];
    this.#bytes = 0;
    this.#room.raise();
    return records;
  }

  end(): void {
    this.#over = true;
    this.more.raise();
  }
}

async function pump(lines: AsyncIterable<LogLineRecord>, gathered: Gathered, signal: AbortSignal): Promise<void> {
  try {
    for await (const record of lines) await gathered.put(record, signal);
  } finally {
    gathered.end();
  }
}

function* frames(records: readonly LogLineRecord[]): Generator<StreamFrame, void, undefined> {
  let lines: LogLine[] = [];
  for (const record of records) {
    if (record.kind === "line") {
      const { atUs, stderr, data, partial } = record;
      lines.push({ atUs, stderr, data, partial });
      continue;
    }
    if (lines.length > 0) yield { frame: { $case: "logs", value: { lines } } };
    lines = [];
    yield { frame: { $case: "dropped", value: { bytes: 0, lines: record.lines } } };
  }
  if (lines.length > 0) yield { frame: { $case: "logs", value: { lines } } };
}
