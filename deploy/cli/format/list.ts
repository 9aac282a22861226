// Printing a list as Docker does: a table, ids alone with -q, a template per row, or JSON per row.

import { compileTemplate } from "./template.ts";
import { table } from "./table.ts";

/** A row as templates see it: `{{.Name}}`. */
export type Row = Readonly<Record<string, string>>;

export interface ListOptions {
  readonly format?: string | undefined;
  readonly quiet?: boolean | undefined;
}

/** Column heading and the row's field under it, with what the table alone adds to it. */
export type Columns = readonly (readonly [heading: string, field: string, cell?: (row: Row) => string])[];

export function formatList(
  list: { readonly rows: readonly Row[]; readonly columns: Columns; readonly id: string },
  options: ListOptions,
): string {
  const { rows, columns } = list;
  if (options.quiet === true) return rows.map((row) => `${row[list.id] ?? ""}\n`).join("");
  const format = options.format ?? "table";
  if (format === "json") return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  if (format === "table")
    return table([
      columns.map(([heading]) => heading),
      ...rows.map((row) => columns.map(([, field, cell]) => cell?.(row) ?? row[field] ?? "")),
    ]);
  const asTable = format.startsWith("table ");
  const template = compileTemplate(asTable ? format.slice("table ".length) : format);
  const lines = rows.map((row) => template(row));
  if (!asTable) return lines.map((line) => `${line}\n`).join("");
  const headings = Object.fromEntries(columns.map(([heading, field]) => [field, heading]));
  const all =
    rows.length > 0
      ? Object.fromEntries(Object.keys(rows[0] ?? {}).map((key) => [key, headings[key] ?? key.toUpperCase()]))
      : headings;
  return table([template(all), ...lines].map((line) => line.split("\t")));
}
