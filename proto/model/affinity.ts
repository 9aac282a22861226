// Which services a task wants beside it, and which it does not: `service==db`, `service!=web`, `service.labels.tier==cache`.
// Reading them; who asks and when is the manager's.

import { SwarmError } from "../base/errors.ts";

export interface Affinity {
  /** As it was written, blanks taken away: what a person finds again. */
  readonly text: string;
  /** undefined: the name of the service. */
  readonly label: string | undefined;
  /** Wanted beside it, or kept away from. */
  readonly together: boolean;
  readonly value: string;
}

const FORM = /^(service|service\.labels\.([a-zA-Z0-9][a-zA-Z0-9\-_./]*))\s*(==|!=)\s*(.*)$/;
const NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$/;
const LABEL_VALUE_MAX = 256;
const SHOWN_MAX = 80;

/** Reads one affinity. Throws InvalidArgument, naming the expression and the valid forms. */
export function parseAffinity(written: string): Affinity {
  const [, subject, label, operator = "", value = ""] = FORM.exec(written.trim()) ?? [];
  if (subject === undefined)
    throw invalid(
      written,
      "it must have the form service==NAME, service!=NAME, service.labels.KEY==VALUE or service.labels.KEY!=VALUE",
    );
  const wanted = value.trim();
  if (label === undefined && !NAME.test(wanted)) throw invalid(written, `${shown(wanted)} is no name of a service`);
  if (wanted.length > LABEL_VALUE_MAX) throw invalid(written, `a value may have ${LABEL_VALUE_MAX} characters at most`);
  return { text: `${subject}${operator}${wanted}`, label, together: operator === "==", value: wanted };
}

/** Does the affinity speak of this service? */
export function concerns(
  { label, value }: Affinity,
  service: { readonly serviceName: string; readonly serviceLabels: Readonly<Record<string, string>> },
): boolean {
  if (label === undefined) return service.serviceName === value;
  return Object.hasOwn(service.serviceLabels, label) && service.serviceLabels[label] === value;
}

function invalid(text: string, why: string): SwarmError {
  return new SwarmError("InvalidArgument", `invalid affinity ${shown(text)}: ${why}`);
}

function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text);
}
