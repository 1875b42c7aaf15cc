import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Arrival } from "../../mesh/client-tls/arrivals.ts";
import { backendTlsPoliciesOfNamespace } from "../../mesh/traffic/backend-tls-policies.ts";
import {
  destinationsWithTls,
  destinationRulesOfNamespace,
  destinationRulesOfServiceEntry,
  serviceEntriesOfNamespace,
} from "../../mesh/client-tls/destinations.ts";
import { type NewPart, PlaintextBefore } from "../../mesh/client-tls/newly-plaintext.ts";
import { hiddenClients } from "../../mesh/client-tls/hidden-clients.ts";
import { clientNamespaces, type TlsPath, tlsPathsInto, writtenBy } from "../../mesh/client-tls/paths.ts";
import { clientProxies } from "../../mesh/membership/clients.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { forWording, type MeshView } from "../../view/view.ts";

type View = MeshView<
  | typeof clientNamespaces
  | typeof clientProxies
  | typeof destinationsWithTls
  | typeof hiddenClients
  | typeof tlsPathsInto
>;
type RulesView = MeshView<
  | typeof backendTlsPoliciesOfNamespace
  | typeof destinationRulesOfNamespace
  | typeof destinationRulesOfServiceEntry
  | typeof serviceEntriesOfNamespace
>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

export const destinationRulePlaintext = defineRule({
  id: "destination-rule-plaintext",
  subject: "Namespace",
  reads: [
    destinationsWithTls,
    tlsPathsInto,
    clientNamespaces,
    clientProxies,
    forWording(hiddenClients),
    destinationRulesOfNamespace,
    destinationRulesOfServiceEntry,
    serviceEntriesOfNamespace,
    backendTlsPoliciesOfNamespace,
  ],
  worksWithout: ["BackendTLSPolicy", "Service", "ServiceEntry", "Workload", "Sidecar", "VirtualService"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A DestinationRule in any namespace makes clients send plaintext to workloads of a namespace.",
  why: "A DestinationRule takes precedence over auto mTLS, a `tls` block without a mode means DISABLE, and a rule in the client's namespace takes precedence over one in the service's (Istio pilot/pkg/model/push_context.go destinationRule, pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). STRICT workloads reset such connections; others accept them without an identity of the caller. Istiod makes a DestinationRule of a BackendTLSPolicy: an entry for a port hides its TLS, and sidecars use none if its certificate is no ConfigMap. For ambient workloads, HBONE takes precedence (applyHBONETransportSocketMatches).",
  fix: "Remove `tls` from the DestinationRule, so that auto mTLS applies to each workload, or set its mode to ISTIO_MUTUAL. If a port cannot use mTLS, exempt it in a PeerAuthentication of the workload first.",
  incident: {
    symptoms: ["reset", "plaintext"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "If the workloads are STRICT, requests of these clients fail. If they are PERMISSIVE, requests succeed without mTLS, and rules that name callers by identity do not match them.",
    wayOut:
      "Remove `tls` from the DestinationRule, or delete it: clients use mTLS again within seconds, as auto mTLS decides for each workload.",
    silentWhen:
      "A BackendTLSPolicy for the host hides the DestinationRule from its clients, the ConfigMap of a BackendTLSPolicy is missing, which is not looked up, the workloads are outside the mesh or have mode DISABLE, or all clients and servers are ambient, where HBONE takes precedence.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(namespace, mesh) {
    for (const sent of yield* plaintextInto({ object: namespace, mesh }, { spareHidden: true }))
      yield problemOf(sent, mesh);
  },

  /**
   * Compares what each group of clients sends to each service. DestinationRules that existed before a namespace joined the
   * mesh, or before a service, only warn. Clients from which Sidecars hid a service sent it plaintext before, past the mesh.
   */
  *compare(before, after) {
    const found = yield* plaintextInto(after, { spareHidden: true });
    if (found.length === 0) return;
    const sentBefore = yield* plaintextInto(before, { spareHidden: false });
    const old = new Map(sentBefore.map((sent) => [keyOf(sent, before.mesh), sent]));
    const isByRule = isRuleChanged(before, after);
    const newIn = old.size === 0 ? everything : isByRule ? comparedByRule(before) : comparedByHost;
    for (const sent of found) {
      yield;
      const known = old.get(keyOf(sent, after.mesh));
      const news = newIn(sent, known, after) ?? worsened(sent, known);
      if (news === undefined) continue;
      const problem = problemOf(news, after.mesh);
      yield isByRule
        ? problem
        : { ...problem, onlyWarns: "the DestinationRule was there before the namespace or the Service" };
    }
  },
});

/** A field of a DestinationRule that makes clients send plaintext, and its effect. */
interface Sent {
  readonly path: TlsPath;
  readonly effect: Effect;
  /** Set if only some requests are new: their only host, or their clients. */
  readonly host?: string;
  readonly from?: string;
}

type Comparison = (sent: Sent, known: Sent | undefined, after: Side) => Sent | undefined;

const everything: Comparison = (sent) => sent;

const worsened = (sent: Sent, known: Sent | undefined): Sent | undefined =>
  known?.effect.isSure === false && sent.effect.isSure ? sent : undefined;

/** If a rule changes, the requests that were not plaintext before, whatever rule made them so. */
function comparedByRule({ object, mesh }: Side): Comparison {
  const before = new PlaintextBefore(object.metadata.name, mesh.get(destinationsWithTls, object));
  return (sent, known, after) => {
    const part = before.newIn(sent.path);
    return part === undefined ? undefined : restricted(sent, part, known === undefined ? "nothing" : "clients", after);
  };
}

/** If no rule changes, the requests to hosts that received no plaintext before. */
const comparedByHost: Comparison = (sent, known, after) => {
  if (known === undefined) return sent;
  const before = new Set(hostsOf(known.path));
  const destinations = new Set(
    sent.path.arrivals.flatMap(({ destination }) => (before.has(destination.host) ? [] : [destination])),
  );
  return destinations.size === 0
    ? undefined
    : restricted(sent, { clients: sent.path.clients, destinations }, "nothing", after);
};

const hostsOf = ({ arrivals }: TlsPath): readonly string[] => arrivals.map(({ destination }) => destination.host);

/** The new requests of a path, with their effect; undefined: they have none. */
function restricted(sent: Sent, part: NewPart, told: "clients" | "nothing", { object, mesh }: Side): Sent | undefined {
  const { path } = sent;
  const all = new Set(path.reaches.flatMap(({ destinations }) => destinations));
  const areAllHosts = all.size === part.destinations.size;
  const areAllClients = path.clients.size === part.clients.size && part.clients.isSubsetOf(path.clients);
  if (areAllHosts && areAllClients) return sent;
  const arrivals = areAllHosts ? path.arrivals : path.arrivals.filter((one) => part.destinations.has(one.destination));
  const some = { ...path, clients: part.clients, arrivals };
  const effect = effectOf(some, object, mesh);
  if (effect === undefined) return undefined;
  const news = { path: some, effect };
  const host = areAllHosts ? {} : onlyHost(part);
  return told === "nothing" || areAllClients
    ? { ...news, ...host }
    : { ...news, ...host, from: clientsNamed(part.clients) };
}

function onlyHost({ destinations }: NewPart): { readonly host?: string } {
  const [host, ...more] = new Set([...destinations].map((destination) => destination.host));
  return host === undefined || more.length > 0 ? {} : { host };
}

function clientsNamed(clients: NewPart["clients"]): string {
  const [only, ...more] = [...clients].flat();
  return only === undefined || only === "" || more.length > 0
    ? "from clients in more namespaces than before "
    : `from clients in ${only} `;
}

/** `spareHidden`: clients from which Sidecars hide the service do not count. Yields where the rule may pause. */
function* plaintextInto(
  { object, mesh }: Side,
  { spareHidden }: { readonly spareHidden: boolean },
): Generator<undefined, readonly Sent[]> {
  if (isTerminating(object) || mesh.get(destinationsWithTls, object).length === 0) return [];
  yield undefined;
  const found: Sent[] = [];
  for (const path of mesh.get(tlsPathsInto, object)) {
    yield undefined;
    const effect = path.tls === "plaintext" ? effectOf(path, object, mesh, spareHidden) : undefined;
    if (effect !== undefined) found.push({ path, effect });
  }
  return found;
}

interface Effect {
  readonly says: string;
  readonly isSure: boolean;
}

function effectOf(
  { arrivals, clients, rule }: TlsPath,
  namespace: Namespace,
  mesh: View,
  spareHidden = true,
): Effect | undefined {
  const { refusal, uncertain } = receptionOf(arrivals);
  if (refusal === undefined) return uncertain === undefined ? undefined : { says: uncertain, isSure: false };
  const hidden = spareHidden
    ? mesh.get(hiddenClients, rule).ofAll(namespace.metadata.name, arrivals)
    : new Set<string>();
  const left = hidden.size === 0 ? clients : seenBy(clients, hidden);
  const isUsed = isUsedBy(left, { rule, namespace, mesh });
  if (isUsed === true) return { says: refusal, isSure: true };
  const names = [...new Set([...clients].flat())].sort();
  const [are, have] = names.length === 1 ? ["namespace", "has"] : ["namespaces", "have"];
  const who = `${are} ${names.join(", ")} ${have}`;
  if (left.size === 0)
    return {
      says: `no Sidecar for ${are} ${names.join(", ")} imports the host, so that no proxy uses it`,
      isSure: false,
    };
  const says =
    isUsed === false ? `${who} no sidecar and no gateway that uses it` : `it is not known whether ${who} sidecars`;
  return { says, isSure: false };
}

const seenBy = (clients: TlsPath["clients"], hidden: ReadonlySet<string>): TlsPath["clients"] =>
  new Set([...clients].map((group) => group.filter((one) => !hidden.has(one))).filter(({ length }) => length > 0));

/** The effect of plaintext on the workloads that receive it; empty: the rule changes nothing. */
interface Reception {
  /** If some of them certainly have a sidecar. */
  readonly refusal?: string;
  readonly uncertain?: string;
}
const receptions = new WeakMap<readonly Arrival[], Reception>();

/** The result is stored, because many paths share their arrivals. */
function receptionOf(arrivals: readonly Arrival[]): Reception {
  let known = receptions.get(arrivals);
  if (known === undefined) receptions.set(arrivals, (known = received(arrivals)));
  return known;
}

function received(arrivals: readonly Arrival[]): Reception {
  // If the traffic is not captured, or the data plane neither requires nor offers mTLS, the rule changes nothing.
  const reached = arrivals.filter(({ server }) => server !== undefined && server.mode !== "DISABLE");
  if (reached.length === 0) return {};
  const sure = reached.filter(({ capture, workloads }) => capture === "sidecar" && workloads.length > 0);
  return sure.length === 0 ? { uncertain: ofUncertain(reached) } : { refusal: ofRefusal(sure) };
}

function ofRefusal(arrivals: readonly Arrival[]): string {
  const strict = arrivals.filter(({ server }) => server?.mode === "STRICT").length;
  if (strict === arrivals.length) return "they are STRICT and reset the connections";
  return strict === 0
    ? "they accept it without an identity of the caller"
    : "STRICT workloads reset the connections, the others accept them without an identity of the caller";
}

const ofUncertain = (arrivals: readonly Arrival[]): string =>
  arrivals.every(({ capture }) => capture === "ambient")
    ? "it has no effect as long as they are ambient, because HBONE takes precedence"
    : "those with a sidecar reset the connections, or accept them without an identity of the caller";

interface Use {
  readonly rule: DestinationRule;
  readonly namespace: Namespace;
  readonly mesh: View;
}

/** Whether some client's proxy uses the rule; undefined: that is not known. */
function isUsedBy(clients: TlsPath["clients"], use: Use): boolean | undefined {
  let answer: boolean | undefined = false;
  for (const group of clients) {
    const isUsed = isUsedByGroup(group, use);
    if (isUsed === true) return true;
    if (isUsed === undefined) answer = undefined;
  }
  return answer;
}

const uses = new WeakMap<readonly string[], Map<DestinationRule, boolean | undefined>>();

/** The result is stored, because many fields of a rule have the same clients. */
function isUsedByGroup(group: readonly string[], use: Use): boolean | undefined {
  const known = uses.get(group) ?? new Map<DestinationRule, boolean | undefined>();
  uses.set(group, known);
  if (!known.has(use.rule)) known.set(use.rule, isUsedByAny(group, use));
  return known.get(use.rule);
}

function isUsedByAny(group: readonly string[], { rule, namespace, mesh }: Use): boolean | undefined {
  let answer: boolean | undefined = false;
  for (const client of group) {
    const named = mesh.get(clientNamespaces, rule).get(client);
    const object = client === namespace.metadata.name ? (named ?? namespace) : named;
    const isUsed = object === undefined ? true : mesh.get(clientProxies, object);
    if (isUsed === true) return true;
    if (isUsed === undefined) answer = undefined;
  }
  return answer;
}

function keyOf({ path: { rule, choice } }: Sent, { settings }: View): string {
  return JSON.stringify([
    idOf(choice.rule ?? choice.policy ?? rule),
    hostOfRule(rule, settings),
    choice.subset,
    choice.port,
  ]);
}

function problemOf(sent: Sent, mesh: View): Problem {
  const { rule, choice, arrivals } = sent.path;
  const by = writtenBy(sent.path);
  const { says, isSure } = sent.effect;
  const { subset, port } = choice;
  const host = sent.host ?? hostOfRule(rule, mesh.settings);
  const where = `${subset === undefined ? "" : ` in subset ${JSON.stringify(subset)}`}${port === undefined ? "" : ` at port ${port}`}`;
  const objects = arrivals.flatMap(({ destination }) => destination.object ?? []);
  return {
    at: [],
    topic: `plaintext by ${idOf(by)}`,
    message: `${idOf(by)} sends plaintext ${sent.from ?? ""}to workloads behind ${JSON.stringify(host)}${where}, ${causeOf(choice)}: ${says}`,
    key: keyOf(sent, mesh),
    ...fixOf(choice),
    related: [...[choice.rule, choice.policy].filter((one) => one !== undefined), ...new Set(objects)],
    ...(isSure ? {} : { onlyWarns: "it is not certain that requests fail" }),
  };
}

function causeOf({ lost, policy, rule }: TlsPath["choice"]): string {
  if (policy !== undefined && rule === undefined)
    return "because the first reference to its certificate is no ConfigMap, so that sidecars use no TLS";
  if (policy !== undefined) return `because the entry for the port has no tls and hides that of ${idOf(policy)}`;
  if (lost === "no workloadSelector") return "because credentialName has no effect without workloadSelector";
  return lost === undefined
    ? "because its tls mode is DISABLE"
    : "because the entry for the port has no tls and replaces the other settings";
}

/** Nothing if the fix of the rule, which is for mode DISABLE, applies. */
function fixOf({ lost, port, policy, rule }: TlsPath["choice"]): { readonly fix?: string } {
  if (lost === undefined) return {};
  if (policy !== undefined && rule === undefined)
    return {
      fix: "Delete the BackendTLSPolicy, so that auto mTLS applies. If the application ends this TLS, keep the certificate of the authority in a ConfigMap.",
    };
  if (policy !== undefined)
    return {
      fix: `Set tls in the entry for port ${port}: mode ISTIO_MUTUAL for the mesh's own mTLS, or SIMPLE if the application shall end the TLS of ${idOf(policy)}.`,
    };
  return lost === "no workloadSelector"
    ? {
        fix: "Set the tls mode to ISTIO_MUTUAL, which needs no credentialName. If the application terminates this TLS itself, add a workloadSelector.",
      }
    : {
        fix: `Set tls with mode ISTIO_MUTUAL in the entry for port ${port}, or remove tls from the whole DestinationRule.`,
      };
}

interface RulesSide {
  readonly object: Namespace;
  readonly mesh: RulesView;
}

function isRuleChanged(before: RulesSide, after: RulesSide): boolean {
  if (before.mesh.settings !== after.mesh.settings) return true;
  const [old, now] = [new Set(rulesInto(before)), new Set(rulesInto(after))];
  return old.size !== now.size || [...old].some((rule) => !now.has(rule));
}

/** With the BackendTLSPolicies that are merged with them. */
const rulesInto = ({ object, mesh }: RulesSide): readonly AnyObject[] => [
  ...mesh.related(backendTlsPoliciesOfNamespace, object),
  ...mesh.related(destinationRulesOfNamespace, object),
  ...mesh
    .related(serviceEntriesOfNamespace, object)
    .flatMap((entry) => mesh.related(destinationRulesOfServiceEntry, entry)),
];
