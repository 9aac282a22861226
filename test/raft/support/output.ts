// The text a command of a scenario produces: log lines at or above a level, and what commands print. At level NONE
// nothing is kept at all.

import type { Level } from "./trace-words.ts";

const LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"] as const;

export class Output {
  #text = "";
  #level = 0;

  get level(): number {
    return this.#level;
  }

  get isQuiet(): boolean {
    return LEVELS[this.#level] === "NONE";
  }

  /** Sets the level by name, in any case. Returns the level before. */
  setLevel(name: string): number {
    const before = this.#level;
    const level = LEVELS.findIndex((known) => known === name.toUpperCase());
    if (level === -1) throw new Error(`log levels must be either of [${LEVELS.join(" ")}]`);
    this.#level = level;
    return before;
  }

  restoreLevel(level: number): void {
    this.#level = level;
  }

  write(text: string): void {
    if (!this.isQuiet) this.#text += text;
  }

  log(level: Level, text: string): void {
    if (LEVELS.indexOf(level) >= this.#level) this.write(`${level} ${text}\n`);
  }

  /** Runs the action; each line it writes is indented. */
  indented(action: () => void): void {
    const outer = this.#text;
    this.#text = "";
    action();
    const inner = this.#text;
    this.#text = outer;
    for (const line of inner.split("\n").slice(0, inner.endsWith("\n") ? -1 : undefined)) {
      if (inner !== "") this.#text += `  ${line}\n`;
    }
  }

  take(): string {
    const text = this.#text;
    this.#text = "";
    return text;
  }
}
