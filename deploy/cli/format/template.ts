// The part of Go's templates that people use with --format: fields, json, if/else, range, index, comparisons and the few
// functions Docker adds. Text in, a function from a value to text out; what is not understood is refused by name.

import { SwarmError } from "../../../proto/base/errors.ts";
import { type Expression, evaluate, parseExpression, show } from "./expression.ts";

export type Template = (value: unknown) => string;

type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly expression: Expression }
  | {
      readonly kind: "if";
      readonly expression: Expression;
      readonly then: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: "range";
      readonly expression: Expression;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

/** Deepest nesting of if and range. */
const DEPTH_MAX = 32;

/** Compiles a template. Throws InvalidArgument naming what is wrong. */
export function compileTemplate(text: string): Template {
  const unescaped = text.replace(/\\t/g, "\t").replace(/\\n/g, "\n");
  const tokens = unescaped.split(/(\{\{-?[\s\S]*?-?\}\})/);
  trimAround(tokens);
  const parser = { tokens, position: 0 };
  const { nodes, end } = parseUntil(parser, [], 0);
  if (end !== undefined) throw invalid(`unexpected {{${end}}}`);
  return (value) => render(nodes, { root: value, dot: value });
}

/** `{{-` and `-}}` take the blanks beside them away. */
function trimAround(tokens: string[]): void {
  tokens.forEach((token, index) => {
    if (token.startsWith("{{- ")) tokens[index - 1] = (tokens[index - 1] ?? "").trimEnd();
    if (token.startsWith("{{") && token.endsWith(" -}}")) tokens[index + 1] = (tokens[index + 1] ?? "").trimStart();
  });
}

interface Parser {
  readonly tokens: readonly string[];
  position: number;
}

function parseUntil(
  parser: Parser,
  ends: readonly string[],
  depth: number,
): { readonly nodes: readonly Node[]; readonly end: string | undefined } {
  if (depth > DEPTH_MAX) throw invalid("it is nested too deeply");
  const nodes: Node[] = [];
  while (parser.position < parser.tokens.length) {
    const token = parser.tokens[parser.position++] ?? "";
    if (!token.startsWith("{{") || !token.endsWith("}}")) {
      if (token.includes("{{")) throw invalid("an action {{ is not closed with }}");
      if (token !== "") nodes.push({ kind: "text", text: token });
      continue;
    }
    const action = token.slice(2, -2).replace(/^-/, "").replace(/-$/, "").trim();
    const [word = ""] = action.split(/\s+/, 1);
    const rest = action.slice(word.length).trim();
    if (ends.includes(word)) return { nodes, end: word };
    if (action.startsWith("/*")) continue;
    if (word === "if" || word === "range") {
      nodes.push(parseBlock(parser, { word, expression: parseExpression(rest) }, depth));
    } else if (word === "end" || word === "else") {
      return { nodes, end: word };
    } else {
      nodes.push({ kind: "print", expression: parseExpression(action) });
    }
  }
  if (ends.length > 0) throw invalid("an {{end}} is missing");
  return { nodes, end: undefined };
}

function parseBlock(
  parser: Parser,
  head: { readonly word: string; readonly expression: Expression },
  depth: number,
): Node {
  const body = parseUntil(parser, ["else", "end"], depth + 1);
  const otherwise = body.end === "else" ? parseUntil(parser, ["end"], depth + 1).nodes : [];
  return head.word === "if"
    ? { kind: "if", expression: head.expression, then: body.nodes, otherwise }
    : { kind: "range", expression: head.expression, body: body.nodes, otherwise };
}

interface Scope {
  readonly root: unknown;
  readonly dot: unknown;
}

function render(nodes: readonly Node[], scope: Scope): string {
  return nodes.map((node) => renderNode(node, scope)).join("");
}

function renderNode(node: Node, scope: Scope): string {
  switch (node.kind) {
    case "text":
      return node.text;
    case "print":
      return show(evaluate(node.expression, scope.dot));
    case "if":
      return render(isTrue(evaluate(node.expression, scope.dot)) ? node.then : node.otherwise, scope);
    case "range": {
      const items = itemsOf(evaluate(node.expression, scope.dot));
      if (items.length === 0) return render(node.otherwise, scope);
      return items.map((item) => render(node.body, { root: scope.root, dot: item })).join("");
    }
  }
}

function itemsOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value === "object" && value !== null)
    return Object.keys(value)
      .sort()
      .map((key) => (value as Record<string, unknown>)[key]);
  return [];
}

/** Go's truth: zero values are false. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

function invalid(reason: string): SwarmError {
  return new SwarmError("InvalidArgument", `template parsing error: ${reason}`);
}
