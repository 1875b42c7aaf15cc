import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { addedEffects, byLabelsOf } from "../../mesh/authorization/added-effects.ts";
import { proxiesOfNamespace, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { noLabels, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fact, forWording, index, relation } from "../../view/view.ts";

type Sidecar = ObjectOf<"Sidecar">;

/** A namespace and its own Sidecars that forward a port to another one. */
const forwardingSidecarsInNamespace = relation(
  "forwardingSidecarsInNamespace",
  namespaceByName,
  index("Sidecar", (sidecar, settings) =>
    isServed(sidecar, settings) && forwardedBy(sidecar).length > 0 ? [sidecar.metadata.namespace] : [],
  ),
);

/** A namespace's own Sidecars that forward a port to another one. */
const forwardingSidecarsIn = fact(
  "forwardingSidecarsIn",
  "Namespace",
  [forwardingSidecarsInNamespace],
  (namespace, mesh): readonly Sidecar[] => mesh.related(forwardingSidecarsInNamespace, namespace),
);

// A workload that comes or goes adds no such object; one with other labels is read besides.
const proxies = forWording(proxiesOfNamespace);

export const sidecarForwardsElsewhere = defineRule({
  id: "sidecar-forwards-elsewhere",
  subject: "Namespace",
  reads: [forwardingSidecarsIn, rootOfNamespace, workloadsOfNamespace, proxies],
  worksWithout: ["KubernetesGateway", "Sidecar", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "A Sidecar forwards an inbound port of a namespace to another port of the application.",
  why: "The mTLS mode and the AuthorizationPolicies of an inbound listener are those of its own port (Istio pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs). With a `defaultEndpoint` of another port, requests reach that port without the policies for it.",
  fix: "Forward each ingress listener to its own port, or write the policies for the port of the listener too.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar"],
    seen: "Requests to the ingress port reach a port of the application whose own policies and mTLS mode do not apply to them.",
    wayOut: "Apply the previous version of the Sidecar.",
    silentWhen: "Each listener forwards to its own port, or only the imports of clients change.",
    page: "https://istio.io/latest/docs/reference/config/networking/sidecar/",
  },

  *compare(before, after) {
    const found = addedEffects([before, after], {
      objectsIn: forwardingSidecarsIn,
      proxies,
      scopeOf,
      effectsOf: (sidecar) => (isFor(after.object.metadata.name, sidecar) ? forwardedBy(sidecar) : []),
    });
    for (const { object, effect, reach, workload } of found)
      yield {
        at: [],
        message: `${byLabelsOf(workload)}${idOf(object)} forwards ${effect} of workloads in namespace ${after.object.metadata.name}, without the policies for the port that it forwards to`,
        key: `${byLabelsOf(workload)}${idOf(object)} ${effect}`,
        related: [object],
        ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
      };
  },
});

/** One of the root namespace counts elsewhere only without a selector (Istio pilot/pkg/model/push_context.go initSidecarScopes). */
const isFor = (namespace: string, { metadata, spec }: Sidecar): boolean =>
  metadata.namespace === namespace || spec.workloadSelector === undefined;

/** The ports that a Sidecar forwards to another port or to a socket. */
const forwardedBy = ({ spec }: Sidecar): readonly string[] =>
  spec.ingress.flatMap(({ port, defaultEndpoint = "" }) => {
    const target = /:(\d+)$/.exec(defaultEndpoint)?.[1];
    const isElsewhere = defaultEndpoint !== "" && Number(target) !== port?.number;
    return isElsewhere ? [`port ${port?.number ?? "?"} to ${JSON.stringify(defaultEndpoint)}`] : [];
  });

/** No gateway has a Sidecar (Istio pilot/pkg/model/push_context.go getSidecarScope). */
const scopeOf = ({ spec }: Sidecar): ProxyScope => ({
  labels: spec.workloadSelector?.labels ?? noLabels,
  targetRefs: [],
  types: ["sidecar"],
});
