import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import {
  type DecidesByHttp,
  decidingByHttp,
  type LossesWithoutHttp,
  lossesWithoutHttp,
} from "../../mesh/authorization/losses-without-http.ts";
import { addedEffects, byLabelsOf } from "../../mesh/authorization/added-effects.ts";
import { proxiesOfNamespace, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { noLabels, policyScope, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { declaredProtocol, parsedProtocol } from "../../mesh/membership/service-protocol.ts";
import { type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { fact, forWording, index, relation } from "../../view/view.ts";

type Sidecar = ObjectOf<"Sidecar">;

/** A namespace and its own Sidecars that declare a port of workloads as TCP. */
const tcpSidecarsInNamespace = relation(
  "tcpSidecarsInNamespace",
  namespaceByName,
  index("Sidecar", (sidecar, settings) =>
    isServed(sidecar, settings) && tcpPortsOf(sidecar).length > 0 ? [sidecar.metadata.namespace] : [],
  ),
);

/** A namespace's own Sidecars that declare a port of workloads as TCP. */
const tcpSidecarsIn = fact(
  "tcpSidecarsIn",
  "Namespace",
  [tcpSidecarsInNamespace],
  (namespace, mesh): readonly Sidecar[] => mesh.related(tcpSidecarsInNamespace, namespace),
);

// A workload that comes or goes adds no such object; one with other labels is read besides.
const proxies = forWording(proxiesOfNamespace);

export const sidecarPortNotHttp = defineRule({
  id: "sidecar-port-not-http",
  subject: "Namespace",
  reads: [tcpSidecarsIn, rootOfNamespace, workloadsOfNamespace, proxies, servicesOfNamespace, ...decidingByHttp],
  worksWithout: ["AuthorizationPolicy", "KubernetesGateway", "RequestAuthentication", "Service", "Sidecar", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A Sidecar declares an inbound port of workloads as TCP, although policies decide there by attributes of HTTP.",
  why: "An ingress listener of a Sidecar decides how proxies treat a port, whatever the Service says (Istio pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs, pkg/config/protocol/instance.go Parse). Where it is TCP, TLS or a database protocol, they drop ALLOW rules with attributes of HTTP and leave these out of DENY rules (pilot/pkg/security/authz/model/model.go Generate), ask no provider over HTTP (pilot/pkg/security/authz/builder/builder.go), and check no tokens (pilot/pkg/security/authn/policy_applier.go JwtFilter). HTTPS is TCP too: settings of TLS count only where istiod runs with ENABLE_TLS_ON_SIDECAR_INGRESS, which is off by default.",
  fix: "Declare the protocol that the port serves, such as HTTP, or leave the listener out. If the port is TCP, write rules for it with callers and ports alone first.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar"],
    seen: "All connections to the port are closed by a DENY policy, or requests that a provider or the check of tokens refused before get answers.",
    wayOut: "Apply the previous version of the Sidecar.",
    silentWhen:
      "A Service declares the port as TCP for these workloads already, the listener was there before, the rules are limited to other ports, or the policies are in the root namespace.",
    page: "https://istio.io/latest/docs/reference/config/networking/sidecar/",
  },

  *compare(before, after) {
    const found = addedEffects([before, after], {
      objectsIn: tcpSidecarsIn,
      proxies,
      scopeOf,
      effectsOf: (sidecar) => (isFor(after.object.metadata.name, sidecar) ? tcpPortsOf(sidecar) : []),
    });
    // A Sidecar can have as many listeners as there are Services and policies.
    const known = new Map<Sidecar, SidecarLosses>();
    for (const { object, effect: port, reach, workload } of found) {
      yield;
      const { labels } = scopeOf(object);
      let losses = known.get(object);
      if (losses === undefined)
        known.set(
          object,
          (losses = {
            tcpAlready: tcpPortsFor(labels, after.mesh.related(servicesOfNamespace, after.object)),
            all: lossesWithoutHttp(after.object, after.mesh, (one) => mayMeet(labels, one)),
          }),
        );
      if (losses.tcpAlready.has(port)) continue;
      for (const { by, what } of losses.all.at([port]))
        yield {
          at: [],
          message: `${byLabelsOf(workload)}${idOf(object)} declares port ${port} of workloads in namespace ${after.object.metadata.name} as TCP, so ${idOf(by)} ${what}`,
          key: `${byLabelsOf(workload)}${idOf(object)} ${port} ${what}`,
          related: [object, by],
          evidence: [by],
          ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
        };
    }
  },
});

interface SidecarLosses {
  readonly tcpAlready: ReadonlySet<string>;
  readonly all: LossesWithoutHttp;
}

/** One of the root namespace counts elsewhere only without a selector (Istio pilot/pkg/model/push_context.go initSidecarScopes). */
const isFor = (namespace: string, { metadata, spec }: Sidecar): boolean =>
  metadata.namespace === namespace || spec.workloadSelector === undefined;

/**
 * The ports of workloads that the listeners of a Sidecar declare as TCP. HTTPS is TCP also with settings of TLS: istiod reads these only with
 * ENABLE_TLS_ON_SIDECAR_INGRESS, which is off by default (Istio pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs).
 */
const tcpPortsOf = ({ spec }: Sidecar): readonly string[] =>
  spec.ingress.flatMap(({ port }) => {
    const { number, protocol = "" } = port ?? {};
    return number !== undefined && parsedProtocol(protocol) === "TCP" ? [String(number)] : [];
  });

/** No gateway has a Sidecar (Istio pilot/pkg/model/push_context.go getSidecarScope). */
const scopeOf = ({ spec }: Sidecar): ProxyScope => ({
  labels: spec.workloadSelector?.labels ?? noLabels,
  targetRefs: [],
  types: ["sidecar"],
});

/** Whether some workload may have all of these labels, as far as that can be known without workloads. */
const meet = (some: Labels, others: Labels): boolean => selects(some, others) || selects(others, some);

/** Sidecars are not meant by policies with targetRefs. */
function mayMeet(labels: Labels, { metadata, spec }: DecidesByHttp): boolean {
  const scope = policyScope(spec, metadata.namespace);
  return scope.targetRefs.length === 0 && meet(scope.labels, labels);
}

/** The ports of workloads with these labels that Services declare as TCP. */
const tcpPortsFor = (labels: Labels, services: readonly Service[]): ReadonlySet<string> =>
  new Set(
    services
      .filter(({ spec: { selector } }) => meet(selector, labels))
      .flatMap(({ spec: { ports } }) =>
        ports.flatMap((one) =>
          one.protocol !== "UDP" && declaredProtocol(one) === "TCP" ? [String(one.targetPort ?? one.port)] : [],
        ),
      ),
  );
