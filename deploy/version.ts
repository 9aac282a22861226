// The version of this tsswarm. A test holds it against package.json.

export const VERSION = "0.1.0";

/** How programs introduce themselves: `tsswarm version 0.1.0`. */
export function versionLine(program: string): string {
  return `${program} version ${VERSION}`;
}
