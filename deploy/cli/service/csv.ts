// Comma-separated KEY=VALUE fields of --mount and --publish; a field with a comma in it stands in double quotes.

export interface CsvField {
  readonly key: string;
  /** Absent when the field has no "=". */
  readonly value: string | undefined;
}

export function csvFields(text: string): readonly CsvField[] {
  const fields = text.match(/"(?:[^"]|"")*"|[^,]+/g) ?? [];
  return fields.map((raw) => {
    const field = raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw;
    const at = field.indexOf("=");
    const key = (at < 0 ? field : field.slice(0, at)).trim().toLowerCase();
    return { key, value: at < 0 ? undefined : field.slice(at + 1) };
  });
}
