// The records of a shim plan and how they are written. The numbers are those of native/src/plan.h (a test compares them);
// which records a container needs is plan.ts's matter.

import { SwarmError } from "../proto/base/errors.ts";

export const PLAN_OP = {
  NAMESPACES: 1,
  NAMESPACE_PATH: 2,
  CGROUP_DIR: 3,
  CGROUP_PROCS: 4,
  OOM_V1: 5,
  OOM_V2: 6,
  LOG: 7,
  EXIT_FILE: 8,
  SOCKET: 9,
  STDIN: 10,
  HOSTNAME: 32,
  OVERLAY: 33,
  BIND_ROOT: 34,
  MOUNT: 35,
  BIND: 36,
  DEVICE: 37,
  SYMLINK: 38,
  DIRECTORY: 39,
  SYSCTL: 40,
  MASK: 41,
  READ_ONLY: 42,
  ROOT_READ_ONLY: 43,
  ROOT_PROPAGATION: 44,
  LOOPBACK: 45,
  TTY: 64,
  RLIMIT: 65,
  OOM_SCORE: 66,
  UMASK: 67,
  CAPABILITIES: 68,
  USER: 69,
  NO_NEW_PRIVILEGES: 70,
  SECCOMP: 71,
  CWD: 72,
  ENV: 73,
  ARG: 74,
} as const;

export type PlanOp = keyof typeof PLAN_OP;

/** Longest plan the shim takes. */
export const PLAN_BYTES_MAX: number = 4 * 1024 * 1024;

const HEAD = Buffer.from("tsswarm1", "latin1");

/** Collects records in their order. */
export class PlanWriter {
  readonly #parts: Buffer[] = [HEAD];

  /** A record of text fields. Throws InvalidArgument for a field with a NUL, which would end it early. */
  add(op: PlanOp, ...fields: readonly (string | number | bigint)[]): this {
    const text = fields.map(String);
    for (const field of text) {
      if (field.includes("\0")) {
        throw new SwarmError(
          "InvalidArgument",
          `${op.toLowerCase()} ${JSON.stringify(field.slice(0, 80))} holds a NUL byte`,
        );
      }
    }
    return this.bytes(op, Buffer.from(text.map((field) => `${field}\0`).join("")));
  }

  /** A record of raw bytes. */
  bytes(op: PlanOp, payload: Uint8Array): this {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(PLAN_OP[op], 0);
    head.writeUInt32LE(payload.length, 4);
    this.#parts.push(head, Buffer.from(payload), Buffer.alloc((8 - (payload.length % 8)) % 8));
    return this;
  }

  /** The plan. Throws ResourceExhausted when it is larger than the shim takes. */
  finish(): Buffer {
    const plan = Buffer.concat(this.#parts);
    if (plan.length > PLAN_BYTES_MAX) {
      throw new SwarmError(
        "ResourceExhausted",
        "the container's arguments, environment and mounts are more than 4 MiB",
      );
    }
    return plan;
  }
}
