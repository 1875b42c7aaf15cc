import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  destinationRulesOfNamespace,
  destinationRulesOfServiceEntry,
  readsDestinations,
  serviceEntriesOfNamespace,
} from "../../mesh/client-tls/destinations.ts";
import {
  type Arrival,
  clientsOfDestinationRule,
  type ReadsClientTls,
  type TlsPath,
  tlsPathsInto,
} from "../../mesh/client-tls/paths.ts";
import { hasProxies } from "../../mesh/membership/clients.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { peerAuthenticationsOfNamespace } from "../../mesh/mtls/effective-mtls.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import type { MeshView } from "../../view/view.ts";

type View = MeshView<ReadsClientTls | typeof clientsOfDestinationRule>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

export const destinationRulePlaintext = defineRule({
  id: "destination-rule-plaintext",
  subject: "Namespace",
  reads: [...readsDestinations, peerAuthenticationsOfNamespace, clientsOfDestinationRule],
  worksWithout: ["Service", "ServiceEntry", "Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A DestinationRule, wherever it lives, makes clients call workloads of a namespace in plaintext.",
  why: "What a DestinationRule says goes before auto mTLS, a `tls` block without a mode is DISABLE, and a rule in the client's namespace goes before the service's own (Istio pilot/pkg/model/push_context.go destinationRule, pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). Workloads that are STRICT reset such calls; the others serve them without knowing who calls. To ambient workloads HBONE goes before it (applyHBONETransportSocketMatches).",
  fix: "Take `tls` out of the DestinationRule, so that auto mTLS chooses for each workload, or set its mode to ISTIO_MUTUAL; a port that cannot do mTLS is exempted in a PeerAuthentication of the workload first.",

  *check(namespace, mesh) {
    yield* problemsOf({ object: namespace, mesh });
  },

  /** A namespace that joins the mesh is not held to what others wrote before: that is a warning. */
  *compare(before, after) {
    const found = problemsOf(after);
    if (found.length === 0) return;
    const old = new Map(problemsOf(before).map((problem) => [problem.key, problem]));
    const isByRule = isRuleChanged(before, after);
    for (const problem of found) {
      const known = old.get(problem.key);
      const isWorse = known?.atMost === "warn" && problem.atMost === undefined;
      if (known === undefined || isWorse) yield isByRule ? problem : { ...problem, atMost: "warn" };
    }
  },
});

function problemsOf({ object, mesh }: Side): readonly Problem[] {
  if (isTerminating(object)) return [];
  return tlsPathsInto(object, mesh).flatMap((path) => {
    const effect = path.tls === "plaintext" ? effectOf(path, object, mesh) : undefined;
    return effect === undefined ? [] : [problemOf(path, effect, mesh)];
  });
}

interface Effect {
  readonly says: string;
  readonly isSure: boolean;
}

function effectOf({ arrivals, clients, rule }: TlsPath, namespace: Namespace, mesh: View): Effect | undefined {
  // Where nothing of the mesh takes the traffic, or what does demands and offers nothing, the rule changes nothing.
  const reached = arrivals.filter(({ server }) => server !== undefined && server.mode !== "DISABLE");
  if (reached.length === 0) return undefined;
  const sure = reached.filter(({ capture, workload }) => capture === "sidecar" && workload !== undefined);
  if (sure.length === 0) return { says: ofUncertain(reached), isSure: false };
  const isUsed = isUsedBy(clients, { rule, namespace, mesh });
  if (isUsed === true) return { says: ofRefusal(sure), isSure: true };
  const names = [...new Set([...clients].flat())].sort();
  const who = names.length === 1 ? `namespace ${names[0]} has` : `namespaces ${names.join(", ")} have`;
  const says =
    isUsed === false ? `${who} no sidecar and no gateway that reads it` : `nobody knows whether ${who} sidecars`;
  return { says, isSure: false };
}

function ofRefusal(arrivals: readonly Arrival[]): string {
  const strict = arrivals.filter(({ server }) => server?.mode === "STRICT").length;
  if (strict === arrivals.length) return "they are STRICT and refuse it";
  return strict === 0
    ? "they serve it without knowing who calls"
    : "those that are STRICT refuse it, the others serve it without knowing who calls";
}

const ofUncertain = (arrivals: readonly Arrival[]): string =>
  arrivals.every(({ capture }) => capture === "ambient")
    ? "without effect as long as they are ambient, where HBONE goes before it"
    : "those that have a sidecar refuse it, or serve it without knowing who calls";

interface Use {
  readonly rule: DestinationRule;
  readonly namespace: Namespace;
  readonly mesh: View;
}

/** Whether some client's proxy follows the rule; undefined: nobody knows. */
function isUsedBy(clients: TlsPath["clients"], { rule, namespace, mesh }: Use): boolean | undefined {
  const known = new Map(
    [namespace, ...mesh.related(clientsOfDestinationRule, rule)].map((object) => [object.metadata.name, object]),
  );
  let answer: boolean | undefined = false;
  for (const client of [...clients].flat()) {
    const object = known.get(client);
    const isUsed = object === undefined ? true : hasProxies(object, mesh);
    if (isUsed === true) return true;
    if (isUsed === undefined) answer = undefined;
  }
  return answer;
}

function problemOf({ rule, choice, arrivals }: TlsPath, { says, isSure }: Effect, { settings }: View): Problem {
  const { subset, port } = choice;
  const host = hostOfRule(rule, settings);
  const where = `${subset === undefined ? "" : ` in subset ${JSON.stringify(subset)}`}${port === undefined ? "" : ` at port ${port}`}`;
  const objects = arrivals.flatMap(({ destination }) => destination.object ?? []);
  return {
    at: [],
    message: `${idOf(rule)} sends plaintext to workloads behind ${JSON.stringify(host)}${where}, ${causeOf(choice)}: ${says}`,
    key: JSON.stringify([idOf(rule), host, subset, port]),
    related: [rule, ...new Set(objects)],
    ...(isSure ? {} : { atMost: "warn" }),
  };
}

function causeOf({ lost }: TlsPath["choice"]): string {
  if (lost === "no workloadSelector") return "credentialName without workloadSelector being no TLS";
  return lost === undefined ? "its tls mode being DISABLE" : "the entry of the port losing the tls around it";
}

function isRuleChanged(before: Side, after: Side): boolean {
  if (before.mesh.settings !== after.mesh.settings) return true;
  const [old, now] = [new Set(rulesInto(before)), new Set(rulesInto(after))];
  return old.size !== now.size || [...old].some((rule) => !now.has(rule));
}

const rulesInto = ({ object, mesh }: Side): readonly DestinationRule[] => [
  ...mesh.related(destinationRulesOfNamespace, object),
  ...mesh
    .related(serviceEntriesOfNamespace, object)
    .flatMap((entry) => mesh.related(destinationRulesOfServiceEntry, entry)),
];
