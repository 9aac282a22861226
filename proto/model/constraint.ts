// Placement constraints in Docker Swarm's language: `node.labels.zone==a`, `node.role!=manager`, `node.ip==10.0.0.0/8`; and what a
// preference spreads over, which is named the same way. Reading them and asking a node; who asks and when is the manager's.

import { never } from "../base/assert.ts";
import { SwarmError } from "../base/errors.ts";
import { NodeRole } from "../gen/specs.ts";
import { type IpRange, isInRange, parseIpRange } from "./ip-range.ts";
import type { WholeNode } from "./objects.ts";

type Attribute = "node.id" | "node.hostname" | "node.role" | "node.platform.os" | "node.platform.arch";

/** What of a node is looked at. */
export type Subject =
  | { readonly kind: "attribute"; readonly name: Attribute }
  | { readonly kind: "nodeLabel" | "engineLabel"; readonly label: string };

export interface Constraint {
  /** As it was written. */
  readonly text: string;
  readonly subject: Subject | { readonly kind: "address"; readonly range: IpRange };
  readonly equal: boolean;
  readonly value: string;
}

const FORM = /^([^!=\s]+)\s*(==|!=)\s*(.*)$/;
const KEY = /^[a-z_][a-z0-9\-_.]+$/i;
const VALUE = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;
const ATTRIBUTES: readonly Attribute[] = [
  "node.id",
  "node.hostname",
  "node.role",
  "node.platform.os",
  "node.platform.arch",
];
const NODE_LABEL = "node.labels.";
const ENGINE_LABEL = "engine.labels.";
const ADDRESS = "node.ip";
const SHOWN_MAX = 80;

/** Reads one constraint. Throws InvalidArgument, naming the expression and the valid forms. */
export function parseConstraint(text: string): Constraint {
  const [, key = "", operator = "", written = ""] = FORM.exec(text.trim()) ?? [];
  if (operator === "")
    throw invalid(text, "it must have the form KEY==VALUE or KEY!=VALUE, for example node.labels.zone==a");
  const value = written.trim();
  if (!KEY.test(key)) throw invalid(text, `key ${JSON.stringify(key.slice(0, SHOWN_MAX))} is invalid`);
  if (!VALUE.test(value)) throw invalid(text, `value ${JSON.stringify(value.slice(0, SHOWN_MAX))} is invalid`);
  const constraint = { text: text.trim(), equal: operator === "==", value };
  if (key.toLowerCase() === ADDRESS)
    return { ...constraint, subject: { kind: "address", range: rangeOf(text, value) } };
  return { ...constraint, subject: subjectOf(key) ?? unknownKey(text, key) };
}

/** Does the node meet all of them? Values are compared without regard to case; a label that is not there is "". */
export function meetsConstraints(node: WholeNode, constraints: readonly Constraint[]): boolean {
  return constraints.every((constraint) => meetsConstraint(node, constraint));
}

export function meetsConstraint(node: WholeNode, { subject, equal, value }: Constraint): boolean {
  if (subject.kind === "address") return isInRange(node.status.addr, subject.range) === equal;
  return (valueOf(node, subject).toLowerCase() === value.toLowerCase()) === equal;
}

/** "node.labels.zone" and the like, as preferences name what they spread over. Throws InvalidArgument. */
export function parseSpread(text: string): Subject {
  const subject = KEY.test(text) ? subjectOf(text) : undefined;
  if (subject !== undefined) return subject;
  throw new SwarmError(
    "InvalidArgument",
    `invalid placement preference ${JSON.stringify(text.slice(0, SHOWN_MAX))}: it must be spread=node.labels.NAME, spread=engine.labels.NAME or spread= and one of ${ATTRIBUTES.join(", ")}`,
  );
}

/** What a constraint was read against, for messages. */
export function shownValue(node: WholeNode, { subject }: Pick<Constraint, "subject">): string {
  return subject.kind === "address" ? node.status.addr : valueOf(node, subject);
}

function subjectOf(key: string): Subject | undefined {
  const lower = key.toLowerCase();
  const name = ATTRIBUTES.find((attribute) => attribute === lower);
  if (name !== undefined) return { kind: "attribute", name };
  if (lower.startsWith(NODE_LABEL) && key.length > NODE_LABEL.length)
    return { kind: "nodeLabel", label: key.slice(NODE_LABEL.length) };
  if (lower.startsWith(ENGINE_LABEL) && key.length > ENGINE_LABEL.length)
    return { kind: "engineLabel", label: key.slice(ENGINE_LABEL.length) };
  return undefined;
}

function unknownKey(text: string, key: string): never {
  throw invalid(
    text,
    `there is no ${key.slice(0, SHOWN_MAX)}; the keys are ${ATTRIBUTES.join(", ")}, ${ADDRESS}, node.labels.NAME and engine.labels.NAME`,
  );
}

function rangeOf(text: string, value: string): IpRange {
  const range = parseIpRange(value);
  if (range === undefined)
    throw invalid(
      text,
      `${JSON.stringify(value.slice(0, SHOWN_MAX))} is neither an address nor a subnet such as 10.0.0.0/8`,
    );
  return range;
}

/** Of one node; a label that is not there is "". */
export function valueOf(node: WholeNode, subject: Subject): string {
  switch (subject.kind) {
    case "attribute":
      return attributeOf(node, subject.name);
    case "nodeLabel":
      return labelOf(node.spec.labels, subject.label);
    case "engineLabel":
      return labelOf(node.description.engineLabels, subject.label);
    default:
      return never(subject);
  }
}

function attributeOf(node: WholeNode, name: Attribute): string {
  switch (name) {
    case "node.id":
      return node.id;
    case "node.hostname":
      return node.description.hostname;
    case "node.role":
      return node.role === NodeRole.MANAGER ? "manager" : "worker";
    case "node.platform.os":
      return node.description.platform?.os ?? "";
    case "node.platform.arch":
      return node.description.platform?.architecture ?? "";
    default:
      return never(name);
  }
}

function labelOf(labels: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(labels, name) ? (labels[name] ?? "") : "";
}

function invalid(text: string, why: string): SwarmError {
  const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
  return new SwarmError("InvalidArgument", `invalid constraint ${JSON.stringify(shown)}: ${why}`);
}
