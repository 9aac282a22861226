// Which container has which published port of this node. Each is held with a real socket for as long as it is published: another
// program that wants it is told "address in use" at once, instead of starting and never hearing anything. Packets never reach
// the socket: nf_tables redirects them.

import { type Socket as UdpSocket, createSocket } from "node:dgram";
import { type Server, createServer } from "node:net";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import { type PortConfig, PortConfig_Protocol } from "../../proto/gen/specs.ts";

const EVERYWHERE = "0.0.0.0";
/** Where ports that are left to us are chosen from. */
const DYNAMIC_PORTS = { first: 32_768, last: 60_999 } as const;

interface Claim {
  readonly owner: string;
  /** Absent while it is being opened, and where another program has the port. */
  socket: Server | UdpSocket | undefined;
}

export function portText(port: PortConfig): string {
  return `${port.publishedPort}/${port.protocol === PortConfig_Protocol.UDP ? "udp" : "tcp"}`;
}

export class PortClaims {
  readonly #claims: Map<string, Claim> = new Map();
  #nextPort: number = DYNAMIC_PORTS.first;

  isTaken(port: PortConfig): boolean {
    return this.#claims.has(portText(port));
  }

  /** Takes the port, or a free one for port 0, and answers which. Throws as `hold` does, ResourceExhausted when none is free. */
  async take(port: PortConfig, owner: string): Promise<PortConfig> {
    if (port.publishedPort !== 0) {
      await this.hold(port, owner);
      return port;
    }
    const count = DYNAMIC_PORTS.last - DYNAMIC_PORTS.first + 1;
    for (let tries = 0; tries < count; tries += 1) {
      const chosen = { ...port, publishedPort: this.#nextPort };
      this.#nextPort = this.#nextPort === DYNAMIC_PORTS.last ? DYNAMIC_PORTS.first : this.#nextPort + 1;
      if (this.isTaken(chosen)) continue;
      try {
        await this.hold(chosen, owner);
        return chosen;
      } catch (error) {
        if (!isSwarmError(error, "FailedPrecondition")) throw error;
      }
    }
    throw new SwarmError(
      "ResourceExhausted",
      `no port from ${DYNAMIC_PORTS.first} to ${DYNAMIC_PORTS.last} is free on this node`,
    );
  }

  /** Takes the port. Throws FailedPrecondition naming the container, or saying that another program has it. */
  async hold(port: PortConfig, owner: string): Promise<void> {
    const name = portText(port);
    const other = this.#claims.get(name);
    if (other !== undefined) {
      throw new SwarmError(
        "FailedPrecondition",
        `port ${name} is already in use on this node by container ${other.owner.slice(0, 12)}; publish another port or stop that container`,
      );
    }
    // Noted before anything is waited for, so that two containers never get the same.
    const claim: Claim = { owner, socket: undefined };
    this.#claims.set(name, claim);
    try {
      claim.socket = await (port.protocol === PortConfig_Protocol.UDP ? holdUdp(port) : holdTcp(port));
    } catch (error) {
      this.#claims.delete(name);
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") {
        throw new SwarmError("FailedPrecondition", `port ${name} cannot be published: ${errorText(error)}`, {
          cause: error,
        });
      }
      throw new SwarmError(
        "FailedPrecondition",
        `port ${name} is already in use on this node by a program outside of tsswarm; stop it or publish another port`,
        { cause: error },
      );
    }
  }

  /** For a container that runs already: the port stays its own whoever holds it. The answer says what stands against it. */
  async keep(port: PortConfig, owner: string): Promise<string | undefined> {
    try {
      await this.hold(port, owner);
      return undefined;
    } catch (error) {
      if (!isSwarmError(error)) throw error;
      if (!this.isTaken(port)) this.#claims.set(portText(port), { owner, socket: undefined });
      return error.message;
    }
  }

  /** Only the owner can; again is nothing. */
  async release(port: PortConfig, owner: string): Promise<void> {
    const claim = this.#claims.get(portText(port));
    if (claim?.owner !== owner) return;
    this.#claims.delete(portText(port));
    await closed(claim);
  }

  async releaseAll(): Promise<void> {
    const claims = [...this.#claims.values()];
    this.#claims.clear();
    await Promise.all(claims.map(closed));
  }
}

async function closed({ socket }: Claim): Promise<void> {
  if (socket !== undefined) await new Promise<void>((resolve) => socket.close(() => resolve()));
}

function holdTcp(port: PortConfig): Promise<Server> {
  return new Promise((resolve, reject) => {
    // Only when the redirection is missing does a client get here; better refused than left waiting.
    const server = createServer((client) => client.resetAndDestroy());
    server.on("error", reject);
    server.listen({ port: port.publishedPort, host: EVERYWHERE, exclusive: true }, () => resolve(server));
    server.unref();
  });
}

function holdUdp(port: PortConfig): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    socket.on("error", reject);
    socket.bind({ port: port.publishedPort, address: EVERYWHERE, exclusive: true }, () => resolve(socket));
    socket.unref();
  });
}
