// Figures as benchmarks give them.

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** To three digits behind the point. */
export function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

/** How many times the peer's figure ours is. */
export function ratioOf({ ours, peer }: { readonly ours: number; readonly peer: number }): number {
  return Math.round((ours / peer) * 100) / 100;
}
