// What an absent field means. Figures are SwarmKit's (api/defaults/service.go and manager/*) unless said otherwise.

export const DEFAULTS = {
  /** Time between TERM (or the stop signal) and KILL. */
  stopGraceMs: 10_000,
  restartDelayMs: 5_000,
  /** Failures in a row make the delay grow up to this (Kubernetes' CrashLoopBackOff). */
  restartDelayMaxMs: 300_000,
  updateParallelism: 1,
  updateMonitorMs: 5_000,
  /** Ten minutes, as Nomad and Kubernetes; SwarmKit waits for ever. */
  progressDeadlineMs: 600_000,
  healthIntervalMs: 30_000,
  healthTimeoutMs: 30_000,
  healthRetries: 3,
  healthStartIntervalMs: 5_000,
  rebalanceMovesPerMinute: 5,
  /** Revisions of a service that are kept (Kubernetes). */
  revisionsMax: 10,
  taskHistoryBytes: 1_048_576,
  taskHistoryAgeMs: 604_800_000,
  taskHistoryLimit: 5,
  heartbeatPeriodMs: 5_000,
  /** Drawn evenly from [-x, +x] and added to each heartbeat period. */
  heartbeatEpsilonMs: 500,
  /** Heartbeats missed before a node counts as down. */
  heartbeatGrace: 3,
  nodeCertExpiryMs: 7_776_000_000,
  /** The shortest certificate life that may be asked for. */
  nodeCertExpiryMinMs: 3_600_000,
  /** Certificates begin this long before they are made, for clocks that differ. */
  certBackdateMs: 3_600_000,
  clusterPort: 2377,
  /** One store transaction, and so one log entry. */
  transactionChangesMax: 200,
  transactionBytesMax: 1_572_864,
} as const;
