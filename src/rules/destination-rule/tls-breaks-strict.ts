import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Arrival } from "../../mesh/client-tls/arrivals.ts";
import { setsClientTls } from "../../mesh/client-tls/client-tls.ts";
import {
  namespaceOfServiceEntry,
  namespacesOfDestinationRule,
  serviceEntriesOfDestinationRule,
} from "../../mesh/client-tls/destinations.ts";
import { hiddenClients } from "../../mesh/client-tls/hidden-clients.ts";
import { type TlsPath, tlsPathsByRule } from "../../mesh/client-tls/paths.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { DestinationRule } from "../../mesh/traffic/destination-rules.ts";
import type { MeshView } from "../../view/view.ts";

const finding = [namespacesOfDestinationRule, serviceEntriesOfDestinationRule, namespaceOfServiceEntry] as const;

export const destinationRuleTlsBreaksStrict = defineRule({
  id: "destination-rule-tls-breaks-strict",
  subject: "DestinationRule",
  reads: [...finding, hiddenClients, tlsPathsByRule],
  worksWithout: ["BackendTLSPolicy", "Service", "ServiceEntry", "Sidecar", "VirtualService", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary:
    "A DestinationRule uses plaintext, or SIMPLE or MUTUAL TLS, for a workload whose sidecar accepts only the mesh's own mTLS.",
  why: "The client's proxy uses what the DestinationRule says, and the sidecar of a STRICT workload resets every connection without a certificate of the mesh (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings, pilot/pkg/security/authn/policy_applier.go). For protected namespaces, destination-rule-plaintext reports plaintext.",
  fix: "Remove `tls`, so that auto mTLS applies, or set ISTIO_MUTUAL. TLS that the application terminates is sent inside the mesh's mTLS.",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "All requests of clients that use the DestinationRule fail, and those of other clients succeed.",
    wayOut: "Remove `tls` from the DestinationRule, or delete it: auto mTLS applies again within seconds.",
    silentWhen:
      "The host is outside the mesh, or its workloads are not STRICT. destination-rule-plaintext reports plaintext for protected namespaces.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(rule, mesh) {
    if (!setsClientTls(rule)) return;
    const named = new Set<Refusal>();
    for (const namespace of namespacesReached(rule, mesh)) {
      if (isTerminating(namespace)) continue;
      const hidden = mesh.get(hiddenClients, rule).of(namespace.metadata.name);
      for (const path of mesh.get(tlsPathsByRule, namespace).get(keyOf(rule)) ?? [])
        if (hidden.size === 0 || ![...path.clients].flat().every((one) => hidden.has(one)))
          yield* refusedOn(path, namespace, named);
      yield;
    }
  },
});

function* refusedOn(
  { arrivals, choice, rule, tls }: TlsPath,
  namespace: Namespace,
  named: Set<Refusal>,
): Iterable<Problem> {
  const refused = refusalOf(arrivals);
  if (refused === undefined) return;
  const isPlaintext = tls === "plaintext";
  const many = `many workloads of ${namespace.metadata.name}`;
  yield {
    at: choice.at ?? [],
    message: `STRICT workloads of namespace "${namespace.metadata.name}" refuse ${isPlaintext ? "plaintext" : "this TLS"}: they accept only the mesh's own mTLS`,
    // Each is named once, because many fields can lead to it.
    ...(named.has(refused) ? {} : { alsoFor: refused.workloads ?? [many], like: many }),
    related: refused.destinations,
    evidence: isPlaintext && !namespace.implied ? [...refused.policies, namespace] : refused.policies,
    ...(isPlaintext ? { topic: `plaintext by ${idOf(rule)}` } : {}),
  };
  named.add(refused);
}

/** The objects that refuse a connection: Services or ServiceEntries, and the policies that make their workloads STRICT. */
interface Refusal {
  /** The ids of the workloads, of which a further one refuses connections anew, although others do already; undefined: they are many. */
  readonly workloads: readonly string[] | undefined;
  readonly destinations: readonly AnyObject[];
  readonly policies: readonly AnyObject[];
}
const refusals = new WeakMap<readonly Arrival[], Refusal | "none">();

/** The result is stored, because many paths share their arrivals. */
function refusalOf(arrivals: readonly Arrival[]): Refusal | undefined {
  let known = refusals.get(arrivals);
  if (known === undefined) {
    const refused = arrivals.filter(isRefused);
    known = refused.length === 0 ? "none" : objectsOf(refused);
    refusals.set(arrivals, known);
  }
  return known === "none" ? undefined : known;
}

/** So many workloads are told apart: there can be as many DestinationRules. */
const mostNamed = 32;

const objectsOf = (refused: readonly Arrival[]): Refusal => ({
  workloads: namesOf(refused),
  destinations: [...new Set(refused.flatMap(({ destination }) => destination.object ?? []))],
  policies: [...new Set(refused.flatMap(({ server }) => server?.by ?? []))],
});

function namesOf(refused: readonly Arrival[]): readonly string[] | undefined {
  const found = new Set<string>();
  for (const { workloads } of refused)
    for (const workload of workloads) {
      found.add(idOf(workload));
      if (found.size > mostNamed) return undefined;
    }
  return [...found];
}

const isRefused = ({ capture, server, workloads }: Arrival): boolean =>
  capture === "sidecar" && workloads.length > 0 && server?.mode === "STRICT";

function namespacesReached(rule: DestinationRule, mesh: MeshView<(typeof finding)[number]>): readonly Namespace[] {
  const namespaces = new Map<string, ObjectOf<"Namespace">>();
  for (const entry of mesh.related(serviceEntriesOfDestinationRule, rule))
    for (const namespace of mesh.related(namespaceOfServiceEntry, entry)) namespaces.set(idOf(namespace), namespace);
  for (const namespace of mesh.related(namespacesOfDestinationRule, rule)) namespaces.set(idOf(namespace), namespace);
  return [...namespaces.values()];
}
