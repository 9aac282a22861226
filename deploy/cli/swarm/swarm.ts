// `tsswarm swarm`: making, joining and leaving a cluster.

import type { Command } from "commander";
import { SwarmError } from "../../../proto/base/errors.ts";
import { parseDuration } from "../../../proto/base/units.ts";
import { ClusterSpec, NodeRole, NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { DEFAULTS } from "../../../proto/model/defaults.ts";
import { type Context, print } from "../context.ts";
import { joinTokenText, showJoinToken } from "./join-token.ts";
import { type SwarmUpdateOptions, updateSwarm } from "./update.ts";

const AVAILABILITY: Readonly<Record<string, NodeSpec_Availability>> = {
  active: NodeSpec_Availability.ACTIVE,
  pause: NodeSpec_Availability.PAUSE,
  drain: NodeSpec_Availability.DRAIN,
};

/** "active", "pause" or "drain". Throws InvalidArgument for another word. */
export function availabilityOf(text: string): NodeSpec_Availability {
  const availability = AVAILABILITY[text.toLowerCase()];
  if (availability === undefined) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid availability "${text}", only active, pause and drain are supported`,
    );
  }
  return availability;
}

interface InitOptions {
  readonly listenAddr: string;
  readonly advertiseAddr: string;
  readonly availability: string;
  readonly certExpiry?: string;
  readonly dispatcherHeartbeat?: string;
  readonly taskHistoryLimit?: string;
  readonly forceNewCluster?: boolean;
}

interface JoinOptions {
  readonly token: string;
  readonly listenAddr: string;
  readonly advertiseAddr: string;
  readonly availability: string;
}

export function addSwarm(command: Command, context: Context): void {
  const { signal } = context;
  const addressFlags = (verb: Command): Command =>
    verb
      .option("--listen-addr <address>", "Listen address (format: ADDRESS[:PORT] or INTERFACE[:PORT])", "")
      .option("--advertise-addr <address>", "Advertised address (format: ADDRESS[:PORT] or INTERFACE[:PORT])", "")
      .option("--availability <mode>", "Availability of the node (active, pause, drain)", "active");

  addressFlags(command.command("init").description("Make this machine a cluster of one manager"))
    .option("--cert-expiry <duration>", "Validity period for node certificates (default 2160h0m0s)")
    .option("--dispatcher-heartbeat <duration>", "Dispatcher heartbeat period (default 5s)")
    .option("--task-history-limit <number>", "Ended tasks kept per slot (default 5)")
    .option(
      "--force-new-cluster",
      "Make a cluster of this manager alone from its state, when the others are lost for good",
    )
    .action(async (options: InitOptions) => {
      const local = await context.local();
      const spec = ClusterSpec.create({
        name: "default",
        ...(options.certExpiry === undefined ? {} : { nodeCertExpiryMs: parseDuration(options.certExpiry) }),
        ...(options.dispatcherHeartbeat === undefined
          ? {}
          : { heartbeatPeriodMs: parseDuration(options.dispatcherHeartbeat) }),
        ...(options.taskHistoryLimit === undefined ? {} : { taskHistoryLimit: Number(options.taskHistoryLimit) }),
      });
      const { listenAddr, advertiseAddr, forceNewCluster = false } = options;
      const made = await local.swarmInit(
        { listenAddr, advertiseAddr, availability: availabilityOf(options.availability), spec, forceNewCluster },
        { signal },
      );
      print(context, `Swarm initialized: current node (${made.nodeId}) is now a manager.\n`);
      print(context, joinTokenText("worker", { token: made.joinTokenWorker, addr: made.addr }));
      print(
        context,
        "To add a manager to this swarm, run 'tsswarm swarm join-token manager' and follow the instructions.\n",
      );
    });

  addressFlags(
    command
      .command("join")
      .description("Join a cluster as a worker or manager, as the token says")
      .argument("<host:port>", "a manager's address"),
  )
    .requiredOption("--token <token>", "Token for entry into the cluster")
    .action(async (remote: string, options: JoinOptions) => {
      const local = await context.local();
      const { token, listenAddr, advertiseAddr } = options;
      const remoteAddr = remote.includes(":") ? remote : `${remote}:${DEFAULTS.clusterPort}`;
      const joined = await local.swarmJoin(
        {
          remoteAddrs: [remoteAddr],
          token,
          listenAddr,
          advertiseAddr,
          availability: availabilityOf(options.availability),
        },
        { signal },
      );
      print(context, `This node joined a swarm as a ${joined.role === NodeRole.MANAGER ? "manager" : "worker"}.`);
    });

  command
    .command("join-token")
    .description("Show or rotate the token for joining")
    .argument("<role>", "worker or manager")
    .option("-q, --quiet", "Only display token")
    .option("--rotate", "Rotate join token")
    .action((role: string, options: { quiet?: boolean; rotate?: boolean }) =>
      showJoinToken(context, { role, ...options }),
    );

  command
    .command("update")
    .description("Update the swarm")
    .option("--cert-expiry <duration>", "Validity period for node certificates (ns|us|ms|s|m|h)")
    .option("--dispatcher-heartbeat <duration>", "Dispatcher heartbeat period (ns|us|ms|s|m|h)")
    .option("--task-history-limit <number>", "Ended tasks kept per slot")
    .action((options: SwarmUpdateOptions) => updateSwarm(context, options));

  command
    .command("leave")
    .description("Leave the cluster")
    .option("-f, --force", "Force this node to leave the cluster, ignoring warnings")
    .action(async (options: { force?: boolean }) => {
      const local = await context.local();
      await local.swarmLeave({ force: options.force === true }, { signal });
      print(context, "Node left the swarm.");
    });
}
