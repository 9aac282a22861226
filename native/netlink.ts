// A netlink socket: sends a batch, reads until every message of it is answered, and turns a refusal into a SwarmError with the
// kernel's own words. Its calls can sleep on the kernel's network lock: only for the network Worker.

import { SwarmError } from "../proto/base/errors.ts";
import { check, errnoError, errnoName, lastErrno, libc } from "./ffi.ts";
import {
  FLAGS,
  type NetlinkMessage,
  type ReceivedMessage,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  text,
} from "./netlink-bytes.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const NETLINK_CAP_ACK = 10;
const TYPE_ERROR = 2;
const TYPE_DONE = 3;
const FLAG_ACK_TLVS = 0x200;
const FLAG_DUMP_INTERRUPTED = 0x10;
const ERROR_TEXT = 1;
const RECEIVE_BYTES = 262_144;
/** Room for a batch of some ten thousand elements, and for the acknowledgement of each message. */
const SOCKET_BYTES = 4_194_304;
/** How often a list is asked for again when what it lists changes underneath. */
const DUMP_TRIES_MAX = 5;
const SIGNALS_MAX = 1_000;
/** Longest wait for one answer of the kernel, in seconds. */
const ANSWER_S = 10;

const socket = libc<(family: number, type: number, protocol: number) => number>(
  "int socket(int family, int type, int protocol)",
);
const setsockopt = libc<(fd: number, level: number, name: number, value: Buffer, length: number) => number>(
  "int setsockopt(int fd, int level, int name, const void *value, unsigned int length)",
);
const send = libc<(fd: number, data: Buffer, length: number, flags: number) => number>(
  "long send(int fd, const void *data, size_t length, int flags)",
);
const recv = libc<(fd: number, data: Buffer, length: number, flags: number) => number>(
  "long recv(int fd, void *data, size_t length, int flags)",
);
const close = libc<(fd: number) => number>("int close(int fd)");

export class NetlinkSocket {
  readonly #fd: number;
  readonly #buffer: Buffer = Buffer.alloc(RECEIVE_BYTES);
  #sequence = 1;

  /** In the network namespace of the calling thread, where it stays. */
  constructor(protocol: number) {
    this.#fd = check(socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol), "cannot open a netlink socket");
    const on = Buffer.from([1, 0, 0, 0]);
    const timeout = Buffer.alloc(16);
    timeout.writeBigInt64LE(BigInt(ANSWER_S), 0);
    check(setsockopt(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, on, 4), "cannot ask for netlink error texts");
    check(setsockopt(this.#fd, SOL_NETLINK, NETLINK_CAP_ACK, on, 4), "cannot ask for short netlink answers");
    check(setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16), "cannot bound the wait for netlink answers");
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(SOCKET_BYTES);
    check(setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes, 4), "cannot widen a netlink socket");
    check(setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, 4), "cannot widen a netlink socket");
  }

  close(): void {
    check(close(this.#fd), "cannot close a netlink socket");
  }

  /**
   * Sends all at once and answers what the kernel sent back besides acknowledgements. The first refusal is thrown, with the
   * errno's name in `details.errno`. A list that changed while it was read is read again.
   */
  run(messages: readonly NetlinkMessage[]): readonly ReceivedMessage[] {
    const onlyLists = messages.every((message) => (message.flags & FLAGS.DUMP) === FLAGS.DUMP);
    for (let tries = 1; ; tries += 1) {
      const answers = this.#exchange(messages);
      const interrupted = answers.some((answer) => (answer.flags & FLAG_DUMP_INTERRUPTED) !== 0);
      if (!interrupted || !onlyLists || tries === DUMP_TRIES_MAX) return answers;
    }
  }

  #exchange(messages: readonly NetlinkMessage[]): readonly ReceivedMessage[] {
    const waiting = new Map<number, NetlinkMessage>();
    const first = this.#sequence;
    const batch = Buffer.concat(
      messages.map((message) => {
        const sequence = this.#sequence++;
        if ((message.flags & (FLAGS.ACK | FLAGS.DUMP)) !== 0) waiting.set(sequence, message);
        return encodeMessage(message, sequence);
      }),
    );
    check(send(this.#fd, batch, batch.length, 0), "cannot send to the kernel's netlink");
    const answers: ReceivedMessage[] = [];
    let refusal: SwarmError | undefined;
    while (waiting.size > 0) {
      for (const message of decodeMessages(this.#receive())) {
        // What is left of an exchange that ended early.
        if (message.sequence < first) continue;
        if (message.type !== TYPE_ERROR && message.type !== TYPE_DONE) {
          answers.push(message);
          continue;
        }
        refusal ??= refusalOf(message, waiting.get(message.sequence));
        waiting.delete(message.sequence);
      }
      // A batch of nf_tables that is refused as a whole need not answer for each message.
      if (refusal !== undefined && waiting.size > 0 && refusal.details["whole"] === "yes") break;
    }
    if (refusal !== undefined) throw refusal;
    return answers;
  }

  #receive(): Buffer {
    for (let tries = 1; ; tries += 1) {
      const length = recv(this.#fd, this.#buffer, this.#buffer.length, 0);
      if (length >= 0) return this.#buffer.subarray(0, length);
      const errno = lastErrno();
      // A signal to the process may end the wait of any of its threads.
      if (errnoName(errno) === "EINTR" && tries < SIGNALS_MAX) continue;
      throw errnoError(errno, "no answer from the kernel's netlink");
    }
  }
}

/** What was asked, for the error of somebody who reads a log. */
function nameOf(type: number): string {
  const names: Readonly<Record<number, string>> = {
    16: "making or changing a link",
    17: "removing a link",
    18: "listing links",
    20: "adding an address",
    21: "removing an address",
    22: "listing addresses",
    24: "adding a route",
  };
  const subsystem = type >> 8;
  return subsystem === 0 ? (names[type] ?? `message ${type}`) : `nf_tables message ${type & 0xff}`;
}

function refusalOf(answer: ReceivedMessage, asked: NetlinkMessage | undefined): SwarmError | undefined {
  const code = answer.payload.length >= 4 ? answer.payload.readInt32LE(0) : 0;
  if (code === 0) return undefined;
  // After the code comes the header of what was asked, and then the kernel's words.
  const words =
    (answer.flags & FLAG_ACK_TLVS) === 0 ? "" : text(decodeAttributes(answer.payload.subarray(4 + 16)).get(ERROR_TEXT));
  const what = asked === undefined ? "a batch" : nameOf(asked.type);
  const error = errnoError(-code, `the kernel refused ${what}${words === "" ? "" : ` (${words})`}`);
  return new SwarmError(error.code, error.message, {
    details: { ...error.details, ...(asked === undefined ? { whole: "yes" } : {}) },
  });
}
