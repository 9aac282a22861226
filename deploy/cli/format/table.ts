// Docker's tables: columns as wide as their longest cell and three blanks, at least ten.

const COLUMN_MIN = 10;
const PADDING = 3;

/** Lines of cells laid out in columns; the last cell of a line is not padded. */
export function table(lines: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(COLUMN_MIN, ...lines.map((line) => displayWidth(line[column] ?? "") + PADDING)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column === line.length - 1 ? cell : pad(cell, widths[column] ?? 0)))
        .join("")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - displayWidth(cell)));
}

function displayWidth(cell: string): number {
  return Array.from(cell).length;
}
