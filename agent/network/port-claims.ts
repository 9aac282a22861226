// Published ports are held with a real socket for as long as they are published: another program that wants the port is told
// "address in use" at once, instead of starting and never hearing anything. Packets never reach it: nf_tables redirects them.

import { type Socket as UdpSocket, createSocket } from "node:dgram";
import { type Server, createServer } from "node:net";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { type PortConfig, PortConfig_Protocol } from "../../proto/gen/specs.ts";

const EVERYWHERE = "0.0.0.0";

export function portText(port: PortConfig): string {
  return `${port.publishedPort}/${port.protocol === PortConfig_Protocol.UDP ? "udp" : "tcp"}`;
}

export class PortClaims {
  readonly #held: Map<string, Server | UdpSocket> = new Map();

  isHeld(port: PortConfig): boolean {
    return this.#held.has(portText(port));
  }

  /** Throws FailedPrecondition when another program has the port. Holding it again is nothing. */
  async hold(port: PortConfig): Promise<void> {
    if (this.isHeld(port)) return;
    try {
      this.#held.set(portText(port), await (port.protocol === PortConfig_Protocol.UDP ? holdUdp(port) : holdTcp(port)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") {
        throw new SwarmError("FailedPrecondition", `port ${portText(port)} cannot be published: ${errorText(error)}`, {
          cause: error,
        });
      }
      throw new SwarmError(
        "FailedPrecondition",
        `port ${portText(port)} is already in use on this node by a program outside of tsswarm; stop it or publish another port`,
        { cause: error },
      );
    }
  }

  async release(port: PortConfig): Promise<void> {
    const socket = this.#held.get(portText(port));
    this.#held.delete(portText(port));
    if (socket === undefined) return;
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }

  async releaseAll(): Promise<void> {
    const sockets = [...this.#held.values()];
    this.#held.clear();
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  }
}

function holdTcp(port: PortConfig): Promise<Server> {
  return new Promise((resolve, reject) => {
    // Only when the redirection is missing does a client get here; better refused than left waiting.
    const server = createServer((client) => client.resetAndDestroy());
    server.once("error", reject);
    server.listen({ port: port.publishedPort, host: EVERYWHERE, exclusive: true }, () => resolve(server));
    server.unref();
  });
}

function holdUdp(port: PortConfig): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    socket.once("error", reject);
    socket.bind({ port: port.publishedPort, address: EVERYWHERE, exclusive: true }, () => resolve(socket));
    socket.unref();
  });
}
