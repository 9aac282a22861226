// Signals by name and by number, as people write them and as the kernel counts them.

import { constants } from "node:os";
import { SwarmError } from "./errors.ts";

const NUMBERS = new Map<string, number>(Object.entries(constants.signals));
const NAMES = new Map([...NUMBERS].map(([name, number]) => [number, name]));
const LARGEST = 64;

/** The number of "SIGTERM", "TERM", "term" or "15"; undefined when there is no such signal. */
export function signalNumber(text: string): number | undefined {
  const upper = text.trim().toUpperCase();
  if (/^\d{1,2}$/.test(upper)) {
    const number = Number(upper);
    return number >= 1 && number <= LARGEST ? number : undefined;
  }
  const realTime = /^(?:SIG)?RTM(IN|AX)(?:([+-])(\d{1,2}))?$/.exec(upper);
  if (realTime !== null) {
    const base = realTime[1] === "IN" ? 34 : LARGEST;
    const offset = Number(realTime[3] ?? 0) * (realTime[2] === "-" ? -1 : 1);
    const number = base + offset;
    return number >= 34 && number <= LARGEST ? number : undefined;
  }
  return NUMBERS.get(upper.startsWith("SIG") ? upper : `SIG${upper}`);
}

/** As signalNumber, but throws InvalidArgument naming the text and the valid forms when there is no such signal. */
export function parseSignal(text: string): number {
  const number = signalNumber(text);
  if (number !== undefined) return number;
  throw new SwarmError(
    "InvalidArgument",
    `there is no signal ${JSON.stringify(text.slice(0, 40))}; write a name such as SIGTERM or TERM, or a number from 1 to ${LARGEST}`,
  );
}

/** "SIGTERM" for 15; undefined for numbers without a name of their own. */
export function signalName(number: number): string | undefined {
  return NAMES.get(number);
}
