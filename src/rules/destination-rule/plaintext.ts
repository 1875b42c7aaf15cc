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
  summary: "A DestinationRule in any namespace makes clients send plaintext to workloads of a namespace.",
  why: "A DestinationRule takes precedence over auto mTLS, a `tls` block without a mode means DISABLE, and a rule in the client's namespace takes precedence over one in the service's (Istio pilot/pkg/model/push_context.go destinationRule, pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). STRICT workloads reset such connections; others accept them without an identity of the caller. For ambient workloads, HBONE takes precedence (applyHBONETransportSocketMatches).",
  fix: "Remove `tls` from the DestinationRule, so that auto mTLS applies to each workload, or set its mode to ISTIO_MUTUAL. If a port cannot use mTLS, exempt it in a PeerAuthentication of the workload first.",

  *check(namespace, mesh) {
    yield* problemsOf({ object: namespace, mesh });
  },

  /** DestinationRules that existed before a namespace joined the mesh only warn. */
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
  // If the traffic is not captured, or the data plane neither requires nor offers mTLS, the rule changes nothing.
  const reached = arrivals.filter(({ server }) => server !== undefined && server.mode !== "DISABLE");
  if (reached.length === 0) return undefined;
  const sure = reached.filter(({ capture, workload }) => capture === "sidecar" && workload !== undefined);
  if (sure.length === 0) return { says: ofUncertain(reached), isSure: false };
  const isUsed = isUsedBy(clients, { rule, namespace, mesh });
  if (isUsed === true) return { says: ofRefusal(sure), isSure: true };
  const names = [...new Set([...clients].flat())].sort();
  const who = names.length === 1 ? `namespace ${names[0]} has` : `namespaces ${names.join(", ")} have`;
  const says =
    isUsed === false ? `${who} no sidecar and no gateway that uses it` : `it is not known whether ${who} sidecars`;
  return { says, isSure: false };
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
    ...fixOf(choice),
    related: [rule, ...new Set(objects)],
    ...(isSure ? {} : { atMost: "warn" }),
  };
}

function causeOf({ lost }: TlsPath["choice"]): string {
  if (lost === "no workloadSelector") return "because credentialName has no effect without workloadSelector";
  return lost === undefined
    ? "because its tls mode is DISABLE"
    : "because the entry for the port has no tls and replaces the other settings";
}

/** Nothing if the fix of the rule, which is for mode DISABLE, applies. */
function fixOf({ lost, port }: TlsPath["choice"]): { readonly fix?: string } {
  if (lost === undefined) return {};
  return lost === "no workloadSelector"
    ? {
        fix: "Set the tls mode to ISTIO_MUTUAL, which needs no credentialName. If the application terminates this TLS itself, add a workloadSelector.",
      }
    : {
        fix: `Set tls with mode ISTIO_MUTUAL in the entry for port ${port}, or remove tls from the whole DestinationRule.`,
      };
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
