// What differs between two specs of a service, a line per field, as people read it. Paths are those that refusals name
// ("task.container.image"); values are printed as the flags take them.

import { printBytes, printCpus, printDuration } from "../base/units.ts";
import {
  CronSchedule_Concurrency,
  DisconnectPolicy_Action,
  Mount_Type,
  Placement_Strategy,
  PortConfig_Protocol,
  PortConfig_PublishMode,
  RestartPolicy_Condition,
  type ServiceSpec,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
} from "../gen/specs.ts";
import { modeOf } from "./service-mode.ts";
import { wholeServiceSpec } from "./objects.ts";

interface Pair {
  readonly before: unknown;
  readonly after: unknown;
}

interface Place {
  readonly path: string;
  /** Name of the field that holds the value, as the types have it. */
  readonly key: string;
}

/** Words of a command: what stands where is the meaning. */
const ORDERED: readonly string[] = ["command", "args", "test"];
/** Fields whose keys are the user's. */
const MAPS: readonly string[] = ["labels", "sysctls"];
const ENUMS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  action: DisconnectPolicy_Action,
  concurrency: CronSchedule_Concurrency,
  condition: RestartPolicy_Condition,
  failureAction: UpdateConfig_FailureAction,
  order: UpdateConfig_Order,
  protocol: PortConfig_Protocol,
  publishMode: PortConfig_PublishMode,
  strategy: Placement_Strategy,
  type: Mount_Type,
};
const ENV = "env";

/** "~ task.container.image: web:1 -> web:2", "+ task.container.env[A]: 1", "- labels[tier]: web". Without a spec before: all that is said. */
export function specDifferences(before: ServiceSpec | undefined, after: ServiceSpec): readonly string[] {
  const place = { path: "", key: "" };
  if (before === undefined) return compare({ before: {}, after: said(plain(after)) }, place);
  return compare({ before: plain(before), after: plain(after) }, place);
}

/** The spec with its mode as a word beside the fields of that mode. */
function plain(spec: ServiceSpec): Readonly<Record<string, unknown>> {
  const whole = wholeServiceSpec(spec);
  return { ...whole, mode: modeOf(whole), [whole.mode.$case]: whole.mode.value };
}

/** Without what says nothing: fields that are empty, off or zero. */
function said(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const parts = Object.entries(fields).map(([name, value]) => [name, isFields(value) ? said(value) : value] as const);
  return Object.fromEntries(
    parts.filter(([, value]) => {
      if (value === undefined || value === "" || value === 0 || value === false) return false;
      if (Array.isArray(value)) return value.length > 0;
      return !isFields(value) || Object.keys(value).length > 0;
    }),
  );
}

function compare(pair: Pair, place: Place): readonly string[] {
  const { before, after } = pair;
  if (before === after) return [];
  if (Array.isArray(before) || Array.isArray(after)) return compareLists(pair, place);
  if (isFields(before) || isFields(after)) return compareFields(pair, place);
  return [line(pair, place)];
}

function compareFields({ before, after }: Pair, place: Place): readonly string[] {
  const left = isFields(before) ? before : {};
  const right = isFields(after) ? after : {};
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  const lines = [...names].flatMap((name) =>
    compare({ before: left[name], after: right[name] }, { path: inner(place, name), key: name }),
  );
  // A part without a field of its own is there or is not.
  if (lines.length === 0 && isFields(before) !== isFields(after) && place.path !== "")
    return [`${isFields(after) ? "+" : "-"} ${place.path}: {}`];
  return lines;
}

function compareLists({ before, after }: Pair, place: Place): readonly string[] {
  const left = textsOf(before, place.key);
  const right = textsOf(after, place.key);
  if (ORDERED.includes(place.key)) {
    const pair = { before: wordsOf(left), after: wordsOf(right) };
    return pair.before === pair.after ? [] : [line(pair, place)];
  }
  if (place.key === ENV) return compareEnv({ left, right }, place);
  const gone = without(left, right);
  const come = without(right, left);
  if (gone.length === 0 && come.length === 0 && left.some((text, index) => text !== right[index]))
    return [`~ ${place.path}: ${left.join(", ")} -> ${right.join(", ")}`];
  return [...gone.map((text) => `- ${place.path}: ${text}`), ...come.map((text) => `+ ${place.path}: ${text}`)];
}

/** Variables by their names; those that are there twice, or in another order, are a list like any other. */
function compareEnv(
  lists: { readonly left: readonly string[]; readonly right: readonly string[] },
  place: Place,
): readonly string[] {
  const [before, after] = [lists.left, lists.right].map((list) => new Map(list.map(splitVariable)));
  if (before?.size !== lists.left.length || after?.size !== lists.right.length)
    return compareLists({ before: lists.left, after: lists.right }, { ...place, key: "" });
  const found = compareFields(
    { before: Object.fromEntries(before), after: Object.fromEntries(after) },
    { path: place.path, key: MAPS[0] ?? "" },
  );
  if (found.length > 0 || lists.left.every((text, index) => text === lists.right[index])) return found;
  return [`~ ${place.path}: ${lists.left.join(", ")} -> ${lists.right.join(", ")}`];
}

function splitVariable(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** Items of `list` that `other` lacks; one that is there twice has to be there twice. */
function without(list: readonly string[], other: readonly string[]): readonly string[] {
  const rest = [...other];
  return list.filter((text) => {
    const at = rest.indexOf(text);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

function line({ before, after }: Pair, { path, key }: Place): string {
  const isMap = path.endsWith("]");
  const hadNone = before === undefined || (before === "" && !isMap);
  const hasNone = after === undefined || (after === "" && !isMap);
  if (hadNone) return `+ ${path}: ${textOf(after, key)}`;
  if (hasNone) return `- ${path}: ${textOf(before, key)}`;
  return `~ ${path}: ${textOf(before, key)} -> ${textOf(after, key)}`;
}

function inner({ path, key }: Place, name: string): string {
  if (MAPS.includes(key)) return `${path}[${name}]`;
  return path === "" ? snake(name) : `${path}.${snake(name)}`;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wordsOf(texts: readonly string[]): string {
  return texts.map((text) => (/^[^\s"']+$/.test(text) ? text : JSON.stringify(text))).join(" ");
}

function textsOf(list: unknown, key: string): readonly string[] {
  return Array.isArray(list) ? list.map((item) => textOf(item, key)) : [];
}

/** A value as a person writes it; of a message, the fields that say something. */
function textOf(value: unknown, key: string): string {
  if (Array.isArray(value)) return textsOf(value, key).join(",");
  if (isFields(value))
    return Object.entries(said(value))
      .map(([name, each]) => `${snake(name)}=${textOf(each, name)}`)
      .join(",");
  if (typeof value !== "number") return String(value);
  const word = Object.entries(ENUMS[key] ?? {}).find(([, number]) => number === value)?.[0];
  if (word !== undefined) return word.toLowerCase().replaceAll("_", "-");
  if (key.endsWith("Ms")) return printDuration(value);
  if (key.endsWith("Bytes")) return value < 0 ? "-1" : printBytes(value);
  return key === "nanoCpus" ? printCpus(value) : String(value);
}
