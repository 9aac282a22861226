// Expressions inside {{ }}: operands, calls and pipes of Go's templates, over plain JSON values.

import { SwarmError } from "../../../proto/base/errors.ts";

export type Expression =
  | { readonly kind: "field"; readonly path: readonly string[] }
  | { readonly kind: "literal"; readonly value: string | number | boolean | null }
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Expression[] };

type Fn = (args: readonly unknown[]) => unknown;

const FUNCTIONS: Readonly<Record<string, Fn>> = {
  json: ([value]) => JSON.stringify(value),
  upper: ([value]) => show(value).toUpperCase(),
  lower: ([value]) => show(value).toLowerCase(),
  title: ([value]) => show(value).replace(/\b\w/g, (letter) => letter.toUpperCase()),
  len: ([value]) =>
    typeof value === "string" || Array.isArray(value) ? value.length : Object.keys(Object(value) as object).length,
  // `.List | join ","` hands the list over last, `join .List ","` first; both are in use.
  join: ([first, second]) => (Array.isArray(first) ? first.map(show).join(show(second)) : joined(second, show(first))),
  split: ([text, separator]) => show(text).split(show(separator)),
  truncate: ([text, length]) => show(text).slice(0, Number(length)),
  pad: ([text, before, after]) => " ".repeat(Number(before)) + show(text) + " ".repeat(Number(after)),
  println: (args) => `${args.map(show).join(" ")}\n`,
  print: (args) => args.map(show).join(""),
  printf: ([format, ...values]) => printf(show(format), values),
  index: ([value, ...keys]) => keys.reduce((inner, key) => member(inner, show(key)), value),
  eq: ([first, ...others]) => others.some((other) => other === first),
  ne: ([first, second]) => first !== second,
  lt: ([first, second]) => Number(first) < Number(second),
  gt: ([first, second]) => Number(first) > Number(second),
  le: ([first, second]) => Number(first) <= Number(second),
  ge: ([first, second]) => Number(first) >= Number(second),
  and: (args) => args.find((value) => !value) ?? args.at(-1),
  or: (args) => args.find(Boolean) ?? args.at(-1),
  not: ([value]) => !value,
};

function joined(list: unknown, separator: string): string {
  return Array.isArray(list) ? list.map(show).join(separator) : show(list);
}

/** Parses one pipeline: `json .Spec`, `.Labels | json`, `index .Labels "a"`. Throws InvalidArgument. */
export function parseExpression(text: string): Expression {
  const tokens = text.match(/"(?:\\.|[^"\\])*"|`[^`]*`|\||\(|\)|[^\s()|"`]+/g) ?? [];
  const state = { tokens, position: 0 };
  const expression = parsePipe(state);
  if (state.position < tokens.length) throw invalid(`unexpected "${tokens[state.position] ?? ""}" in "${text}"`);
  return expression;
}

interface State {
  readonly tokens: readonly string[];
  position: number;
}

function parsePipe(state: State): Expression {
  let left = parseCall(state);
  while (state.tokens[state.position] === "|") {
    state.position += 1;
    const right = parseCall(state);
    if (right.kind !== "call") throw invalid("only a function can stand after |");
    left = { kind: "call", name: right.name, args: [...right.args, left] };
  }
  return left;
}

function parseCall(state: State): Expression {
  const first = parseOperand(state);
  if (first.kind !== "call") return first;
  const args: Expression[] = [];
  for (;;) {
    const token = state.tokens[state.position];
    if (token === undefined || token === "|" || token === ")") return { ...first, args };
    args.push(parseOperand(state));
  }
}

function parseOperand(state: State): Expression {
  const token = state.tokens[state.position++];
  if (token === undefined || token === "|" || token === ")") throw invalid("a value is missing");
  if (token === "(") {
    const inner = parsePipe(state);
    if (state.tokens[state.position++] !== ")") throw invalid("a ) is missing");
    return inner;
  }
  if (token.startsWith('"')) return { kind: "literal", value: JSON.parse(token) as string };
  if (token.startsWith("`")) return { kind: "literal", value: token.slice(1, -1) };
  if (/^-?\d+(\.\d+)?$/.test(token)) return { kind: "literal", value: Number(token) };
  if (token === "true" || token === "false") return { kind: "literal", value: token === "true" };
  if (token === "nil") return { kind: "literal", value: null };
  if (token === ".") return { kind: "field", path: [] };
  if (/^(\.[A-Za-z_][\w-]*)+$/.test(token)) return { kind: "field", path: token.slice(1).split(".") };
  if (token in FUNCTIONS) return { kind: "call", name: token, args: [] };
  throw invalid(`function "${token}" is not defined`);
}

/** The value of an expression where `.` is `dot`. Throws InvalidArgument for a field that does not exist. */
export function evaluate(expression: Expression, dot: unknown): unknown {
  switch (expression.kind) {
    case "literal":
      return expression.value;
    case "field":
      return expression.path.reduce((value, name) => field(value, name), dot);
    case "call": {
      const fn = FUNCTIONS[expression.name];
      if (fn === undefined) throw invalid(`function "${expression.name}" is not defined`);
      const args = expression.args.map((arg) => evaluate(arg, dot));
      return fn(args);
    }
  }
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) throw invalid(`can't evaluate field ${name} in a ${typeof value}`);
  const found = member(value, name);
  if (found === undefined) {
    // A missing key of a row is a spelling mistake; inside an object it is a field that happens to be empty.
    const known = Object.keys(value);
    const near = known.find((key) => key.toLowerCase() === name.toLowerCase());
    if (near !== undefined) throw invalid(`can't evaluate field ${name}: did you mean .${near}?`);
    return "";
  }
  return found;
}

function member(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

/** How Go prints a value: text bare, lists and maps in their own notation. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return "<no value>";
  if (Array.isArray(value)) return `[${value.map(show).join(" ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, inner]) => `${key}:${show(inner)}`).join(" ")}]`;
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}

function printf(format: string, values: readonly unknown[]): string {
  let next = 0;
  return format.replace(/%(-?\d*)([sdvq%])/g, (_, width: string, verb: string) => {
    if (verb === "%") return "%";
    const value = show(values[next++]);
    const text = verb === "q" ? JSON.stringify(value) : value;
    const length = Math.abs(Number(width));
    return width.startsWith("-") ? text.padEnd(length) : text.padStart(length);
  });
}

function invalid(reason: string): SwarmError {
  return new SwarmError("InvalidArgument", `template parsing error: ${reason}`);
}
