// A netlink socket: sends a batch, reads until every message of it is answered, and turns a refusal into a SwarmError with the
// kernel's own words. Its calls can sleep on the kernel's network lock: only for the network Worker.

import { SwarmError } from "../proto/base/errors.ts";
import { check, errnoError, libc } from "./ffi.ts";
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
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const NETLINK_CAP_ACK = 10;
const TYPE_ERROR = 2;
const TYPE_DONE = 3;
const FLAG_ACK_TLVS = 0x200;
const ERROR_TEXT = 1;
const RECEIVE_BYTES = 262_144;
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
  }

  close(): void {
    check(close(this.#fd), "cannot close a netlink socket");
  }

  /** Sends all at once and answers what the kernel sent back besides acknowledgements. The first refusal is thrown. */
  run(messages: readonly NetlinkMessage[]): readonly ReceivedMessage[] {
    const waiting = new Map<number, NetlinkMessage>();
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
      const length = check(recv(this.#fd, this.#buffer, this.#buffer.length, 0), "no answer from the kernel's netlink");
      for (const message of decodeMessages(this.#buffer.subarray(0, length))) {
        if (message.type !== TYPE_ERROR && message.type !== TYPE_DONE) {
          answers.push(message);
          continue;
        }
        refusal ??= refusalOf(message, waiting.get(message.sequence));
        waiting.delete(message.sequence);
      }
      // A batch of nf_tables that is refused as a whole answers once, not for each message.
      if (refusal !== undefined && waiting.size > 0 && refusal.details["whole"] === "yes") break;
    }
    if (refusal !== undefined) throw refusal;
    return answers;
  }
}

function refusalOf(answer: ReceivedMessage, asked: NetlinkMessage | undefined): SwarmError | undefined {
  const code = answer.payload.length >= 4 ? answer.payload.readInt32LE(0) : 0;
  if (code === 0) return undefined;
  // After the code comes the header of what was asked, and then the kernel's words.
  const words =
    (answer.flags & FLAG_ACK_TLVS) === 0 ? "" : text(decodeAttributes(answer.payload.subarray(4 + 16)).get(ERROR_TEXT));
  const what = asked === undefined ? "a batch" : `message ${asked.type}`;
  const error = errnoError(-code, `the kernel refused netlink ${what}${words === "" ? "" : ` (${words})`}`);
  return new SwarmError(error.code, error.message, {
    details: { ...error.details, ...(asked === undefined ? { whole: "yes" } : {}) },
  });
}
