// The flags of `service create` and `service update` about how an update goes, and the same again about the way back.

import { SwarmError } from "../../../proto/base/errors.ts";
import { parseDuration } from "../../../proto/base/units.ts";
import { type UpdateConfig, UpdateConfig_FailureAction, UpdateConfig_Order } from "../../../proto/gen/specs.ts";
import { wholeNumber } from "../options.ts";
import type { Flag } from "./flags.ts";

type Part = "update" | "rollback";

interface UpdateFlag {
  /** Without the part: "delay <duration>". */
  readonly flag: string;
  readonly help: Readonly<Record<Part, string>>;
  readonly set: (value: string, flag: string) => Partial<UpdateConfig>;
}

const ORDERS: Readonly<Record<string, UpdateConfig_Order>> = {
  "start-first": UpdateConfig_Order.START_FIRST,
  "stop-first": UpdateConfig_Order.STOP_FIRST,
};
const ACTIONS: Readonly<Record<string, UpdateConfig_FailureAction>> = {
  pause: UpdateConfig_FailureAction.PAUSE,
  continue: UpdateConfig_FailureAction.CONTINUE,
  rollback: UpdateConfig_FailureAction.ROLLBACK,
};
const UNITS = "(ns|us|ms|s|m|h)";

const FLAGS: readonly UpdateFlag[] = [
  {
    flag: "parallelism <number>",
    help: {
      update: "Maximum number of tasks updated simultaneously (0 to update all at once) (default 1)",
      rollback: "Maximum number of tasks rolled back simultaneously (0 to roll back all at once) (default 1)",
    },
    set: (value, flag) => ({ parallelism: wholeNumber(value, { flag, min: 0, max: 4_294_967_295 }) }),
  },
  {
    flag: "delay <duration>",
    help: {
      update: `Delay between updates ${UNITS} (default 0s)`,
      rollback: `Delay between task rollbacks ${UNITS} (default 0s)`,
    },
    set: (value) => ({ delayMs: parseDuration(value) }),
  },
  {
    flag: "monitor <duration>",
    help: {
      update: `Duration after each task update to monitor for failure ${UNITS} (default 5s)`,
      rollback: `Duration after each task rollback to monitor for failure ${UNITS} (default 5s)`,
    },
    set: (value) => ({ monitorMs: parseDuration(value) }),
  },
  {
    flag: "max-failure-ratio <float>",
    help: {
      update: "Failure rate to tolerate during an update (default 0)",
      rollback: "Failure rate to tolerate during a rollback (default 0)",
    },
    set: (value, flag) => ({ maxFailureRatio: ratio(value, flag) }),
  },
  {
    flag: "failure-action <action>",
    help: {
      update: 'Action on update failure ("pause", "continue", "rollback") (default "pause")',
      rollback: 'Action on rollback failure ("pause", "continue") (default "pause")',
    },
    set: (value, flag) => {
      const known = flag.startsWith("--rollback") ? ["pause", "continue"] : Object.keys(ACTIONS);
      return { failureAction: wordOf(value, { flag, words: ACTIONS, known }) };
    },
  },
  {
    flag: "order <order>",
    help: {
      update: 'Update order ("start-first", "stop-first") (default "stop-first")',
      rollback: 'Rollback order ("start-first", "stop-first") (default "stop-first")',
    },
    set: (value, flag) => ({ order: wordOf(value, { flag, words: ORDERS, known: Object.keys(ORDERS) }) }),
  },
  {
    flag: "progress-deadline <duration>",
    help: {
      update: `A task that does not run after this time fails the update ${UNITS}; 0 to wait for ever (default 10m)`,
      rollback: `A task that does not run after this time fails the rollback ${UNITS}; 0 to wait for ever (default 10m)`,
    },
    set: (value) => ({ progressDeadlineMs: parseDuration(value) }),
  },
];

export const UPDATE_FLAGS: readonly Flag[] = [...flagsOf("update"), ...flagsOf("rollback")];

function flagsOf(part: Part): readonly Flag[] {
  return FLAGS.map(({ flag, help, set }) => {
    const name = `--${part}-${flag}`;
    const word = name.split(" ", 1)[0] ?? name;
    return {
      flag: name,
      help: help[part],
      set: (spec, value) => ({ ...spec, [part]: { ...spec[part], ...set(value, word) } }),
    };
  });
}

function wordOf<T>(
  text: string,
  options: {
    readonly flag: string;
    readonly words: Readonly<Record<string, T>>;
    readonly known: readonly string[];
  },
): T {
  const { flag, words, known } = options;
  const value = known.includes(text.toLowerCase()) ? words[text.toLowerCase()] : undefined;
  if (value !== undefined) return value;
  throw new SwarmError("InvalidArgument", `invalid value "${text}" for ${flag}: it must be one of ${known.join(", ")}`);
}

function ratio(text: string, flag: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value <= 1) return value;
  throw new SwarmError("InvalidArgument", `invalid value "${text}" for ${flag}: it must be a number from 0 to 1`);
}
