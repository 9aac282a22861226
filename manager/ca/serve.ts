// How nodes get certificates (the NodeCa service): a new node by its join token, a known one by the certificate it has. It
// writes the Node object; which calls may come without a certificate is the access table's.

import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { IssueNodeCertificateRequest, IssueNodeCertificateResponse, NodeCaService } from "../../proto/gen/ca.ts";
import { Node } from "../../proto/gen/objects.ts";
import { NodeRole, NodeSpec, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import { newId } from "../../proto/model/ids.ts";
import { JOIN_TOKEN_LENGTH_MAX } from "../../proto/model/join-token.ts";
import { type WholeCluster, wholeNode } from "../../proto/model/objects.ts";
import type { Caller } from "../../proto/rpc/caller.ts";
import type { Handlers } from "../../proto/rpc/methods.ts";
import type { NodeRoleName } from "../../proto/rpc/tls.ts";
import { notTaken } from "../store/not-taken.ts";
import type { Store } from "../store/store.ts";
import type { ReadTx } from "../store/tx.ts";
import { Authority, CSR_LENGTH_MAX } from "./authority.ts";
import { roleOfToken } from "./tokens.ts";

export interface NodeCaOptions {
  readonly store: Pick<Store, "update" | "view">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Requests being signed at the same time; more are told to come again. */
const UNDER_WAY_MAX = 64;

/** PEM; undefined where there is no cluster yet. */
export function rootCertificate(view: ReadTx): Uint8Array | undefined {
  return view.clusters.all()[0]?.rootCa.caCertPem;
}

export function nodeCaHandlers(options: NodeCaOptions): Handlers<typeof NodeCaService> {
  const ca = new NodeCa(options);
  return {
    getRootCaCertificate: () => Promise.resolve({ certificatePem: ca.cluster().rootCa.caCertPem }),
    issueNodeCertificate: (request, { caller }) => ca.issue(request, caller),
  };
}

class NodeCa {
  readonly #options: NodeCaOptions;
  /** For the root key it was opened with. */
  #authority: { readonly keyPem: Uint8Array; readonly opened: Promise<Authority> } | undefined;
  #underWay = 0;

  constructor(options: NodeCaOptions) {
    this.#options = options;
  }

  cluster(): WholeCluster {
    for (const cluster of this.#options.store.view().clusters.all()) return cluster;
    throw new SwarmError("Unavailable", "this manager has no cluster yet; try again");
  }

  async issue(request: IssueNodeCertificateRequest, caller: Caller): Promise<IssueNodeCertificateResponse> {
    if (this.#underWay >= UNDER_WAY_MAX)
      throw new SwarmError("ResourceExhausted", "too many nodes ask for certificates at the same time; try again");
    if (request.csrPem.length > CSR_LENGTH_MAX)
      throw new SwarmError("InvalidArgument", `the certificate signing request is longer than ${CSR_LENGTH_MAX} bytes`);
    this.#underWay += 1;
    try {
      return request.token === "" ? await this.#renew(request, caller) : await this.#join(request, caller);
    } finally {
      this.#underWay -= 1;
    }
  }

  async #join(request: IssueNodeCertificateRequest, caller: Caller): Promise<IssueNodeCertificateResponse> {
    const { store, random, logger } = this.#options;
    const from = "addr" in caller ? caller.addr : "this machine";
    const role =
      request.token.length > JOIN_TOKEN_LENGTH_MAX ? undefined : roleOfToken(request.token, this.cluster().rootCa);
    if (role === undefined) {
      logger.warn("a node asked to join with a wrong token", { from });
      throw new SwarmError(
        "PermissionDenied",
        "invalid join token: it is not, or is no longer, a token of this cluster; `tsswarm swarm join-token worker` (or manager) on a manager shows the one to use",
      );
    }
    const nodeId = newId(random);
    const response = await this.#sign(request, { nodeId, role });
    const spec = NodeSpec.create({ role: response.role, availability: availability(request.availability) });
    const node = Node.create({ id: nodeId, role: response.role, spec, certExpiresAtMs: response.certExpiresAtMs });
    await store.update((tx) => tx.nodes.create(wholeNode(node)));
    logger.info("a node joined", { node: nodeId, role, from });
    return response;
  }

  async #renew(request: IssueNodeCertificateRequest, caller: Caller): Promise<IssueNodeCertificateResponse> {
    const { store, logger } = this.#options;
    if (caller.kind !== "node")
      throw new SwarmError("Unauthenticated", "a join token is needed: this caller has no certificate to renew");
    const { nodeId } = caller;
    const node = store.view().nodes.get(nodeId);
    if (node === undefined || caller.clusterId !== this.cluster().id) throw removed(nodeId);
    const role = node.role === NodeRole.MANAGER ? "manager" : "worker";
    const response = await this.#sign(request, { nodeId, role });
    await store.update((tx) => {
      const current = tx.nodes.get(nodeId);
      if (current === undefined) throw removed(nodeId);
      // A manager's certificate for a node that was demoted while it was signed would be good for months.
      if (current.role !== node.role) throw notTaken(`node ${nodeId} has another role by now; ask again`);
      tx.nodes.update({ ...current, certExpiresAtMs: response.certExpiresAtMs });
    });
    logger.info("a node renewed its certificate", { node: nodeId });
    return response;
  }

  async #sign(
    request: IssueNodeCertificateRequest,
    subject: { readonly nodeId: string; readonly role: NodeRoleName },
  ): Promise<IssueNodeCertificateResponse & { readonly certExpiresAtMs: number }> {
    const cluster = this.cluster();
    const authority = await this.#open(cluster);
    const issued = await authority.issue(Buffer.from(request.csrPem).toString(), {
      ...subject,
      clusterId: cluster.id,
      expiryMs: cluster.spec.nodeCertExpiryMs ?? DEFAULTS.nodeCertExpiryMs,
    });
    return {
      nodeId: subject.nodeId,
      clusterId: cluster.id,
      role: subject.role === "manager" ? NodeRole.MANAGER : NodeRole.WORKER,
      certificatePem: Buffer.from(issued.certPem),
      caCertificatePem: cluster.rootCa.caCertPem,
      certExpiresAtMs: issued.notAfterMs,
    };
  }

  #open(cluster: WholeCluster): Promise<Authority> {
    const { caKeyPem, caCertPem } = cluster.rootCa;
    if (this.#authority === undefined || !Buffer.from(caKeyPem).equals(this.#authority.keyPem)) {
      const root = { keyPem: Buffer.from(caKeyPem).toString(), certPem: Buffer.from(caCertPem).toString() };
      this.#authority = { keyPem: caKeyPem, opened: Authority.open(this.#options, root) };
    }
    return this.#authority.opened;
  }
}

function availability(asked: NodeSpec_Availability): NodeSpec_Availability {
  const known: readonly number[] = Object.values(NodeSpec_Availability);
  if (known.includes(asked)) return asked;
  throw new SwarmError("InvalidArgument", `there is no availability ${asked}; use active, pause or drain`);
}

function removed(nodeId: string): SwarmError {
  return new SwarmError(
    "PermissionDenied",
    `node ${nodeId} is not, or is no longer, a member of this cluster; run \`tsswarm swarm leave\` on it and join it again`,
  );
}
