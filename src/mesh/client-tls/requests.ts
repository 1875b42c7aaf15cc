import type { Labels } from "../../kube/object.ts";
import { boundPorts } from "../traffic/bound-ports.ts";
import { idOf } from "../../kube/identity.ts";
import type { Mesh } from "../../view/view.ts";
import { clientsIn, proxyAmong, type Sender } from "../membership/clients.ts";
import { readers } from "../membership/control-plane.ts";
import { namespaceIn } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { disabledAutoMtls, mtlsOf, type PeerAuthentication } from "../mtls/effective-mtls.ts";
import { mtlsOfWorkload, type PortMtls, weakestOf, type WorkloadMtls } from "../mtls/workload-mtls.ts";
import { destinationRulesOfHost, usedDestinationRules } from "../traffic/destination-rule-choices.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import type { Backend } from "./backends.ts";
import { anyPort, podsOfSubset } from "./destinations.ts";
import type { BackendTlsPolicy } from "../traffic/backend-tls-policies.ts";
import { hostIn } from "../traffic/host-definition.ts";
import { isHiddenFrom } from "./hidden-clients.ts";
import { policyRulesFor } from "../traffic/policy-rules.ts";
import { type ClientTls, clientTlsOf, type Fit, fitOf, withAutoMtls } from "./client-tls.ts";

type Subset = DestinationRule["spec"]["subsets"][number];

/** The result at a port for clients of one namespace that have the same settings. */
export interface RequestAnswer {
  readonly sender: Sender;
  /** The labels of the clients; undefined: all clients. */
  readonly labels: Labels | undefined;
  readonly tls: ClientTls;
  /** The DestinationRule that sets the TLS of the clients; undefined: there is none. */
  readonly rule: DestinationRule | undefined;
  /** Set if a BackendTLSPolicy sets it. */
  readonly policy?: BackendTlsPolicy;
  /** Set if auto mTLS is not used, because this policy sets mode DISABLE for the namespace of the service. */
  readonly disabledBy?: PeerAuthentication;
  /** Set if auto mTLS, to which the clients leave it, is disabled in the mesh config. */
  readonly isAutoDisabled?: true;
  /** Set if Sidecars hide the host from these clients, whose requests go past the mesh therefore. */
  readonly isHidden?: true;
  /** One entry for each result, in the order of the workloads; never empty. */
  readonly outcomes: readonly RequestOutcome[];
}

export interface RequestOutcome {
  readonly fit: Fit;
  /** Whether HBONE takes precedence over the DestinationRule. */
  readonly isTunnelled: boolean;
  readonly workloads: readonly Workload[];
}

/** A request to a port of a host, or to a subset with other results. */
export interface Request {
  /** `anyPort` if no object names a port. */
  readonly port: number;
  readonly subset: string | undefined;
  readonly answers: readonly RequestAnswer[];
}

/**
 * The results of requests from clients of a namespace to a host, at each port. Empty if no workload of the host is known.
 * `asProxies`: the requests of proxies in the namespace.
 */
export function requestsTo(
  { host, client }: { readonly host: string; readonly client: string },
  backend: Backend,
  mesh: Mesh,
  asProxies = false,
): readonly Request[] {
  const servers = serversOf(backend, mesh);
  if (servers.length === 0) return [];
  const clients = namespaceIn(mesh, client);
  const { senders } = clientsIn(clients, mesh);
  const controlPlane = mesh.get(readers, clients).ofSidecar({});
  const destination = { client, controlPlane, host, namespace: backend.namespace.metadata.name };
  const { service, entries } = hostIn(mesh, host);
  const made = policyRulesFor(host, [...(service === undefined ? [] : [service]), ...entries], mesh);
  const rules = [...made, ...destinationRulesOfHost(host, mesh)];
  const used = usedDestinationRules(destination, rules, mesh.settings);
  const disabledBy = disabledAutoMtls(backend.namespace, mesh);
  const isAuto = mesh.settings.autoMtls && disabledBy === undefined;
  const isHidden = used.some((one) => one && isHiddenFrom(client, one, backend.namespace.metadata.name, mesh));
  const call = {
    isHidden,
    senders: asProxies ? new Set<Sender>(["proxy"]) : senders,
    used,
    servers,
    backend,
    disabledBy,
    isAuto,
  };
  const ports = backend.ports.length > 0 ? backend.ports : [anyPort];
  return ports.flatMap((port) => requestsAt(port, call, mesh));
}

interface Server {
  readonly workload: Workload;
  readonly mtls: WorkloadMtls;
}

/** The TLS of a gateway is set in its Gateway. */
function serversOf({ workloads = [], namespace }: Backend, mesh: Mesh): readonly Server[] {
  const pods = workloads.filter((workload) => !isProxy(workload));
  if (pods.length === 0) return [];
  const mtls = mtlsOf(namespace, mesh);
  return pods.map((workload) => ({
    workload,
    mtls: mtlsOfWorkload(workload, namespace, mtls, { settings: mesh.settings, bound: boundPorts(workload, mesh) }),
  }));
}

interface Call {
  readonly senders: ReadonlySet<Sender>;
  readonly used: readonly (MergedDestinationRule | undefined)[];
  readonly isHidden: boolean;
  readonly servers: readonly Server[];
  readonly backend: Backend;
  readonly disabledBy: PeerAuthentication | undefined;
  /** Whether proxies use auto mTLS. */
  readonly isAuto: boolean;
}

function requestsAt(port: number, call: Call, mesh: Mesh): readonly Request[] {
  const answersOf = (sent: readonly Sent[], servers: readonly Server[]) =>
    sent
      .map((said) => withoutAutoMtls(said, call, mesh.settings.autoMtls))
      .map((one) => ({ ...one, outcomes: outcomesOf(one, port, { ...call, servers }, mesh.settings.autoMtls) }));
  const whole = sentTo(port, call);
  const ofSubsets = sentToSubsets(port, call).map(({ subset, sent }) => {
    const servers = podsOfSubset(subset.labels, call.servers);
    return { port, subset: subset.name, answers: answersOf(sent, servers) };
  });
  return [{ port, subset: undefined, answers: answersOf(whole, call.servers) }, ...ofSubsets];
}

type Sent = Omit<RequestAnswer, "outcomes">;

function withoutAutoMtls(sent: Sent, { disabledBy }: Call, autoMtls: boolean): Sent {
  if (sent.tls !== "auto" || sent.sender === "ztunnel") return sent;
  if (disabledBy !== undefined) return { ...sent, tls: "plaintext", rule: undefined, disabledBy };
  return autoMtls ? sent : { ...sent, isAutoDisabled: true };
}

/** Each type of client once; those with proxies once for each setting in their DestinationRules. */
function sentTo(port: number, { senders, used, isHidden, isAuto }: Call): readonly Sent[] {
  const none = { labels: undefined, rule: undefined };
  const sender = proxyAmong(senders);
  return [
    ...(sender === undefined || isHidden
      ? []
      : distinct(used.map((merged) => sentBy({ sender, isAuto }, merged, port)))),
    ...(sender !== undefined && isHidden ? [{ ...none, sender, tls: "plaintext", isHidden } as const] : []),
    ...(senders.has("ztunnel") ? [{ ...none, sender: "ztunnel", tls: "auto" } as const] : []),
    ...(senders.has("nothing") ? [{ ...none, sender: "nothing", tls: "plaintext" } as const] : []),
  ];
}

function sentBy(
  { sender, isAuto }: { readonly sender: Sender; readonly isAuto: boolean },
  merged: MergedDestinationRule | undefined,
  port: number,
  subset?: Subset,
): Sent {
  const { tls, rule, policy } = withAutoMtls(clientTlsOf(merged, port, subset), isAuto);
  return { sender, labels: merged?.selector, tls, rule, ...(policy === undefined ? {} : { policy }) };
}

/** If all labels lead to the same setting, clients are not distinguished. */
function distinct(sent: readonly Sent[]): readonly Sent[] {
  const found = new Map<string, Sent>();
  for (const one of sent) {
    const by = one.rule ?? one.policy;
    const key = JSON.stringify([one.sender, one.tls, by && idOf(by)]);
    const other = found.get(key);
    if (other === undefined || one.labels === undefined) found.set(key, one);
  }
  return [...found.values()];
}

/** The subsets whose own traffic policy changes the TLS of proxies. */
function sentToSubsets(
  port: number,
  { senders, used, isHidden, isAuto }: Call,
): readonly { readonly subset: Subset; readonly sent: readonly Sent[] }[] {
  const sender = proxyAmong(senders);
  if (sender === undefined || isHidden) return [];
  return used.flatMap((merged) =>
    (merged?.subsets ?? []).flatMap((subset) => {
      if (subset.trafficPolicy === undefined) return [];
      const client = { sender, isAuto };
      const [own, whole] = [sentBy(client, merged, port, subset), sentBy(client, merged, port)];
      return own.tls === whole.tls && own.rule === whole.rule ? [] : [{ subset, sent: [own] }];
    }),
  );
}

function outcomesOf(
  sent: Sent,
  port: number,
  { servers, backend }: Call,
  autoMtls: boolean,
): readonly RequestOutcome[] {
  const outcomes = new Map<string, RequestOutcome>();
  for (const { workload, mtls } of servers) {
    const number = backend.workloadPort(port, workload);
    const fit = fitAt(sent, mtls, number === undefined ? undefined : mtls.at(number), autoMtls);
    const key = JSON.stringify(fit);
    outcomes.set(key, { ...fit, workloads: [...(outcomes.get(key)?.workloads ?? []), workload] });
  }
  return [...outcomes.values()];
}

/**
 * The result of a request at one workload. Proxies and ztunnel use HBONE for workloads that ztunnel captures, regardless of
 * DestinationRules (Istio pilot/pkg/networking/core/cluster_tls.go applyHBONETransportSocketMatches). ztunnel uses it for sidecars too,
 * which accept it on a port of its own where the mesh is installed for ambient, whatever mode they have and whichever ports bypass them
 * (pilot/pkg/serviceregistry/ambient/workloads.go setTunnelProtocol, listener_inbound.go buildInboundHBONEListeners). Auto mTLS depends on
 * the pod and its mode, not on its ports: a port that bypasses the sidecar receives TLS that nothing terminates.
 */
export function fitAt(
  { sender, tls }: Pick<RequestAnswer, "sender" | "tls">,
  server: WorkloadMtls,
  port: PortMtls | undefined,
  autoMtls: boolean,
): { readonly fit: Fit; readonly isTunnelled: boolean } {
  const isAuto = autoMtls || sender === "ztunnel";
  const mode = port === undefined ? server.mode : weakestOf(port.byPlane.map((one) => one.mode));
  const fit = fitOf(tls, mode?.mode, isAuto);
  if (acceptsHbone(server, sender)) return { fit: "mtls", isTunnelled: fit !== "mtls" };
  if (port?.passedBy === undefined) return { fit, isTunnelled: false };
  return { fit: fitOf(tls === "auto" ? chosenTls(sender, fit) : tls, undefined, isAuto), isTunnelled: false };
}

const chosenTls = (sender: Sender, fit: Fit): ClientTls =>
  fit === "mtls" && sender !== "ztunnel" ? "mtls" : "plaintext";

/** Whether a client reaches a pod by HBONE. */
export const acceptsHbone = ({ capture }: Pick<WorkloadMtls, "capture">, sender: Sender): boolean =>
  capture === "ambient" ? sender !== "nothing" : capture === "sidecar" && sender === "ztunnel";
