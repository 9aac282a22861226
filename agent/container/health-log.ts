// What the last checks of a container said, bounded: for the people who ask why it was replaced.

export interface HealthResult {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** 0: healthy. -1: it could not be run, or took too long. */
  readonly exitCode: number;
  /** The beginning of what it wrote to both streams, at most HEALTH_OUTPUT_BYTES_MAX of it. */
  readonly output: string;
}

export const HEALTH_OUTPUT_BYTES_MAX = 4_096;
const RESULTS_MAX = 5;

/** Invariant: at most RESULTS_MAX results, oldest first. */
export class HealthLog {
  #results: readonly HealthResult[] = [];

  /** Oldest first. */
  get results(): readonly HealthResult[] {
    return this.#results;
  }

  get last(): HealthResult | undefined {
    return this.#results.at(-1);
  }

  add(result: HealthResult): void {
    this.#results = [...this.#results, result].slice(-RESULTS_MAX);
  }
}
