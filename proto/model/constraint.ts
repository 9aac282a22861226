// Placement constraints in Docker Swarm's language: `node.labels.zone==a`, `node.role!=manager`. Reading them and asking a
// node; who asks and when is the manager's.

import { never } from "../base/assert.ts";
import { SwarmError } from "../base/errors.ts";
import { NodeRole } from "../gen/specs.ts";
import type { WholeNode } from "./objects.ts";

type Attribute = "node.id" | "node.hostname" | "node.role" | "node.platform.os" | "node.platform.arch";

export interface Constraint {
  readonly subject:
    | { readonly kind: "attribute"; readonly name: Attribute }
    | { readonly kind: "nodeLabel" | "engineLabel"; readonly label: string };
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
const SHOWN_MAX = 80;

/** Reads one constraint. Throws InvalidArgument, naming the expression and the valid forms. */
export function parseConstraint(text: string): Constraint {
  const [, key = "", operator = "", written = ""] = FORM.exec(text.trim()) ?? [];
  if (operator === "")
    throw invalid(text, "it must have the form KEY==VALUE or KEY!=VALUE, for example node.labels.zone==a");
  const value = written.trim();
  if (!KEY.test(key)) throw invalid(text, `key ${JSON.stringify(key.slice(0, SHOWN_MAX))} is invalid`);
  if (!VALUE.test(value)) throw invalid(text, `value ${JSON.stringify(value.slice(0, SHOWN_MAX))} is invalid`);
  return { subject: subjectOf(text, key), equal: operator === "==", value };
}

/** Does the node meet all of them? Values are compared without regard to case; a label that is not there is "". */
export function meetsConstraints(node: WholeNode, constraints: readonly Constraint[]): boolean {
  return constraints.every(
    ({ subject, equal, value }) => (valueOf(node, subject).toLowerCase() === value.toLowerCase()) === equal,
  );
}

function subjectOf(text: string, key: string): Constraint["subject"] {
  const lower = key.toLowerCase();
  const name = ATTRIBUTES.find((attribute) => attribute === lower);
  if (name !== undefined) return { kind: "attribute", name };
  if (lower.startsWith(NODE_LABEL) && key.length > NODE_LABEL.length)
    return { kind: "nodeLabel", label: key.slice(NODE_LABEL.length) };
  if (lower.startsWith(ENGINE_LABEL) && key.length > ENGINE_LABEL.length)
    return { kind: "engineLabel", label: key.slice(ENGINE_LABEL.length) };
  throw invalid(
    text,
    `there is no ${key.slice(0, SHOWN_MAX)}; the keys are ${ATTRIBUTES.join(", ")}, node.labels.NAME and engine.labels.NAME`,
  );
}

function valueOf(node: WholeNode, subject: Constraint["subject"]): string {
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
