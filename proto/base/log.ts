// Log lines of the daemons: one line per event on standard error, `time level component: sentence key=value ...`.

export type LogLevel = "debug" | "info" | "warn" | "error";

export type LogFields = Readonly<Record<string, string | number | boolean>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same sink under a longer component name ("agent.session"). */
  child(component: string): Logger;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Logger over `write`, dropping what is below `level`. `now` stamps the lines (ms since epoch). */
export function createLogger(options: {
  readonly component: string;
  readonly level: LogLevel;
  readonly now: () => number;
  readonly write: (line: string) => void;
}): Logger {
  const emit = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (RANK[level] < RANK[options.level]) return;
    const extra = Object.entries(fields).map(([key, value]) => ` ${key}=${quote(String(value))}`);
    options.write(
      `${new Date(options.now()).toISOString()} ${level} ${options.component}: ${message}${extra.join("")}\n`,
    );
  };
  return {
    debug: (message, fields) => {
      emit("debug", message, fields);
    },
    info: (message, fields) => {
      emit("info", message, fields);
    },
    warn: (message, fields) => {
      emit("warn", message, fields);
    },
    error: (message, fields) => {
      emit("error", message, fields);
    },
    child: (component) => createLogger({ ...options, component: `${options.component}.${component}` }),
  };
}

/** Values with blanks, quotes or control characters are written as JSON strings, so that a line stays one line. */
function quote(value: string): string {
  return /^[!#-<>-~]+$/.test(value) ? value : JSON.stringify(value);
}

/** A logger that says nothing, for tests. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
