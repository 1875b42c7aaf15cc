import { defineRule } from "../../engine/rule.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { AnyObject } from "../../kube/object.ts";
import { everyAuthorizationPolicyOfNamespace } from "../../mesh/authorization/choices.ts";
import { gatewaysOfNamespace } from "../../mesh/membership/gateways.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { workloadEntriesOfNamespace } from "../../mesh/membership/workload-entries.ts";
import { peerAuthenticationsOfNamespace } from "../../mesh/mtls/effective-mtls.ts";
import { definitionsGone, definitionsOfMeshKinds } from "../../mesh/objects/definitions.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  envoyFiltersOver,
  requestAuthenticationsOver,
  trafficExtensionsOver,
  wasmPluginsOver,
} from "../../mesh/requests/attachments.ts";
import { backendTlsPoliciesOfNamespace } from "../../mesh/traffic/backend-tls-policies.ts";
import { sidecarsOfNamespace } from "../../mesh/traffic/sidecar-egress.ts";
import { fact, forWording, index, relation } from "../../view/view.ts";

/** A namespace and the VirtualServices in it. */
const virtualServicesInNamespace = relation(
  "virtualServicesInNamespace",
  namespaceByName,
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
);
/** A namespace and the DestinationRules in it. */
const destinationRulesInNamespace = relation(
  "destinationRulesInNamespace",
  namespaceByName,
  index("DestinationRule", ({ metadata }) => [metadata.namespace]),
);
/** A namespace and the ServiceEntries in it. */
const serviceEntriesInNamespace = relation(
  "serviceEntriesInNamespace",
  namespaceByName,
  index("ServiceEntry", ({ metadata }) => [metadata.namespace]),
);
/** A namespace and the Gateways of Istio's API in it. */
const istioGatewaysInNamespace = relation(
  "istioGatewaysInNamespace",
  namespaceByName,
  index("Gateway", ({ metadata }) => [metadata.namespace]),
);
/** A namespace and the routes of the Gateway API in it. */
const routesInNamespace = relation(
  "routesInNamespace",
  namespaceByName,
  index("KubernetesRoute", ({ metadata }) => [metadata.namespace]),
);

const relations = [
  peerAuthenticationsOfNamespace,
  everyAuthorizationPolicyOfNamespace,
  requestAuthenticationsOver,
  envoyFiltersOver,
  wasmPluginsOver,
  trafficExtensionsOver,
  virtualServicesInNamespace,
  destinationRulesInNamespace,
  serviceEntriesInNamespace,
  workloadEntriesOfNamespace,
  sidecarsOfNamespace,
  istioGatewaysInNamespace,
  gatewaysOfNamespace,
  routesInNamespace,
  backendTlsPoliciesOfNamespace,
] as const;
const kindsLost: readonly Kind[] = relations.map(({ to }) => to.kind);

/** The objects that decide about traffic of a namespace and are deleted with their definition, by the name of it. */
const objectsLost = fact("objectsLost", "Namespace", relations, (namespace, mesh) => {
  const found = relations.flatMap((one): readonly AnyObject[] => mesh.related(one, namespace));
  return Map.groupBy(
    found.filter((object) => isServed(object, mesh.settings)),
    ({ kind, originKind }) => keyOf(kind, originKind),
  );
});
/** Istio and the Gateway API both have a kind `Gateway`. */
const keyOf = (kind: Kind, served: string): string => `${kind}/${served}`;
// Only a definition that goes adds problems, not an object that comes or goes.
const lostObjects = forWording(objectsLost);

export const namespaceDefinitionRemoved = defineRule({
  id: "namespace-definition-removed",
  subject: "Namespace",
  reads: [definitionsOfMeshKinds, lostObjects],
  // The definition that goes is in the request itself.
  worksWithout: ["AdmissionWebhook", ...kindsLost],
  mode: { protected: "deny", elsewhere: "warn" },
  since: "0.1.0",
  summary: "The CustomResourceDefinition of a kind is deleted while objects of the kind apply in the namespace.",
  why: "The API server deletes every object of a kind with its CustomResourceDefinition, without a review of each (Kubernetes apiextensions-apiserver pkg/controller/finalizer/crd_finalizer.go). So `kubectl delete crd` and `kubectl replace --force` of Istio's definitions delete all policies and routes of the cluster. If no version that control planes read is served any more, a control plane that starts again does not find the objects.",
  fix: "Keep the CustomResourceDefinition. To change it, use `kubectl apply --server-side` or `kubectl replace` without `--force`; to remove Istio, take the namespaces out of the mesh and delete the objects first.",
  incident: {
    symptoms: ["open-access", "plaintext", "no-route"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "All objects of the kind are gone in every namespace: without AuthorizationPolicies everybody gets in, without PeerAuthentications plaintext is accepted, without routes requests go to all versions of a Service or to none.",
    wayOut: "Apply the CustomResourceDefinition again, then all objects of the kind from their repository or a backup.",
    silentWhen:
      "No object of the kind that a control plane reads applies in the namespace, the kind is none of Istio or the Gateway API, or the definition is in files, of which only definitions with a conversion webhook are read.",
    page: "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const there = before.mesh.related(definitionsOfMeshKinds, before.object);
    const now = after.mesh.related(definitionsOfMeshKinds, after.object);
    // The list is the same one if no definition changes.
    if (there === now) return;
    for (const { definition, kind, served, isDeleted } of definitionsGone(there, now)) {
      const lost = before.mesh.get(lostObjects, before.object).get(keyOf(kind, served));
      if (lost === undefined) continue;
      const every = `every ${served} that applies in namespace ${after.object.metadata.name}`;
      const how = isDeleted
        ? `is deleted, and ${every} with it`
        : `serves no version any more that control planes read: they lose ${every}`;
      yield {
        at: [],
        message: `CustomResourceDefinition ${definition.metadata.name} ${how}`,
        key: `definition of ${keyOf(kind, served)}`,
        related: lost.slice(0, mostNamed),
        evidence: lost.slice(0, mostNamed),
      };
    }
  },
});

const mostNamed = 5;
