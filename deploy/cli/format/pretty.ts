// The indented form of `inspect --pretty`: a name and a value, or a name and an indented group below it. Empty values are
// left out.

export type Section = readonly [name: string, value: string | readonly string[] | readonly Section[]];

const COLUMN = 20;

export function pretty(sections: readonly Section[], indent = ""): string {
  return sections.map(([name, value]) => section(name, value, indent)).join("");
}

function section(name: string, value: Section[1], indent: string): string {
  if (typeof value === "string") return value === "" ? "" : `${`${indent}${name}:`.padEnd(COLUMN)} ${value}\n`;
  if (value.length === 0) return "";
  if (isLines(value)) return `${indent}${name}:\n${value.map((line) => `${indent} - ${line}\n`).join("")}`;
  const inner = pretty(value, `${indent} `);
  return inner === "" ? "" : `${indent}${name}:\n${inner}`;
}

function isLines(value: readonly string[] | readonly Section[]): value is readonly string[] {
  return typeof value[0] === "string";
}
