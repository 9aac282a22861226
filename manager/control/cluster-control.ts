// The cluster's API as one interface: what gRPC serves, what the daemon calls in its own process and what tests drive. One
// method per RPC of proto/control.proto, with plain values and async iterables. Every failure is a SwarmError.

import type { ControlService } from "../../proto/gen/control.ts";
import type { Handlers } from "../../proto/rpc/methods.ts";

/** Each method takes the request (a stream of them for exec) and `{ signal, caller }`. */
export type ClusterControl = Handlers<ControlService>;
