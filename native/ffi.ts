// The one place that loads koffi. Declares functions of the C library with types, and turns a failed call into a SwarmError
// that holds the errno's name. Knows nothing of what the calls are for. Only calls that cannot block belong on the main
// thread; what can sleep goes to a Worker (which may import this file too), never to koffi's `.async`.

import { constants } from "node:os";

import * as koffi from "koffi";

import { type ErrorCode, SwarmError } from "../proto/base/errors.ts";

/** The C library of this process; `lib.func` for the rare declaration that libc() cannot type. */
export const lib: koffi.LibraryHandle = koffi.load("libc.so.6");

/**
 * Declares a function of the C library by its prototype, as koffi reads it: `_Out_ int *fd`, `const char *path`, `void *data`
 * for a Buffer. The caller states the types; the call is synchronous.
 */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the parameter is the declaration's type
export function libc<Call extends (...args: never[]) => unknown>(prototype: string): Call {
  return lib.func(prototype) as unknown as Call;
}

const ERRNO_NAMES = new Map<number, string>(
  // Of two names for one number the first is the one people know (EAGAIN, not EWOULDBLOCK).
  Object.entries(constants.errno)
    .reverse()
    .map(([name, number]) => [number, name]),
);

const strerror = libc<(errno: number) => string>("const char *strerror(int errnum)");

/** errno of the last call on this thread. Read it before anything else is called. */
export function lastErrno(): number {
  return koffi.errno();
}

/** "ENOENT" for 2; "errno 4711" for a number without a name. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "NotFound",
  ESRCH: "NotFound",
  ENODEV: "NotFound",
  EEXIST: "AlreadyExists",
  EPERM: "PermissionDenied",
  EACCES: "PermissionDenied",
  EROFS: "PermissionDenied",
  EINVAL: "InvalidArgument",
  ENAMETOOLONG: "InvalidArgument",
  ENOSPC: "ResourceExhausted",
  EDQUOT: "ResourceExhausted",
  ENOMEM: "ResourceExhausted",
  EMFILE: "ResourceExhausted",
  ENFILE: "ResourceExhausted",
  EAGAIN: "Unavailable",
  EBUSY: "FailedPrecondition",
};

/** The error for an errno: `<what>: No such file or directory (ENOENT)`; the name is also in `details.errno`. */
export function errnoError(errno: number, what: string): SwarmError {
  const name = errnoName(errno);
  return new SwarmError(CODES[name] ?? "Internal", `${what}: ${strerror(errno)} (${name})`, {
    details: { errno: name },
  });
}

/** Returns `result` of the call just made, or throws what errno says when it is negative. `what` says what was tried. */
export function check(result: number, what: string): number {
  if (result < 0) throw errnoError(lastErrno(), what);
  return result;
}
