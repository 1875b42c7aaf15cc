import { defineRule } from "../../engine/rule.ts";
import type { Labels } from "../../kube/object.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import {
  isRegistryOnly,
  type Sidecar,
  selectorOfSidecar,
  sidecarFor,
  sidecarsOfNamespace,
} from "../../mesh/traffic/sidecar-egress.ts";
import { type MeshView, setting } from "../../view/view.ts";

// What the mesh config says is reported by mesh-config-weakened.
const reads = [sidecarsOfNamespace, rootOfNamespace, setting("outboundTrafficPolicy")] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const namespaceEgressOpened = defineRule({
  id: "namespace-egress-opened",
  subject: "Namespace",
  reads,
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  summary: "A Sidecar lets workloads send requests to hosts that the mesh does not know, which their sidecars refused.",
  why: "With outboundTrafficPolicy REGISTRY_ONLY, a sidecar refuses connections to what no Service and no ServiceEntry defines. The outboundTrafficPolicy of a Sidecar counts instead of that of the mesh config, and a Sidecar of the root namespace counts where a namespace has none (Istio pilot/pkg/model/sidecar.go convertToSidecarScope, pilot/pkg/model/push_context.go doGetSidecarScope). So a new Sidecar, or the deletion of one, opens the way out of the mesh without any ServiceEntry.",
  fix: "Keep outboundTrafficPolicy.mode at REGISTRY_ONLY, and add a ServiceEntry for each external host that is needed.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar"],
    seen: "Nothing fails: workloads reach hosts outside the mesh that no ServiceEntry names.",
    wayOut:
      "Apply the previous version of the Sidecar. Sidecars refuse new connections to unknown hosts again within seconds.",
    silentWhen:
      "The mesh config itself changes (mesh-config-weakened), sidecars let the requests pass before, or the namespace is ambient, where Sidecars have no effect. REGISTRY_ONLY keeps no malicious workload from connections that bypass its sidecar; NetworkPolicies do.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-control/",
  },

  *compare(before, after) {
    if (isTerminating(after.object) || enrollmentOf(after.object, after.mesh.settings) === "ambient") return;
    const [was, is] = [sidecarsFor(before), sidecarsFor(after)];
    after.mesh.visited(was.all.length + is.all.length);
    const { settings } = after.mesh;
    for (const labels of selectorsOf([...new Set(was.all).symmetricDifference(new Set(is.all))])) {
      yield;
      const [old, now] = [was.used(labels), is.used(labels)];
      if (old === now || !isRegistryOnly(old, settings) || isRegistryOnly(now, settings)) continue;
      const of = formatLabels(labels);
      const who = of === "" ? "Workloads" : `Workloads with ${of}`;
      yield {
        at: [],
        message: `${who} of namespace ${after.object.metadata.name} may send requests to hosts that the mesh does not know: outboundTrafficPolicy is REGISTRY_ONLY for them no longer`,
        key: of,
        related: [now ?? old].filter((one) => one !== undefined),
      };
    }
  },
});

function sidecarsFor({ object, mesh }: Side) {
  const own = mesh.related(sidecarsOfNamespace, object);
  const ofRoot = mesh.related(rootOfNamespace, object).flatMap((root) => mesh.related(sidecarsOfNamespace, root));
  return { all: [...own, ...ofRoot], used: (labels: Labels) => sidecarFor(own, ofRoot, labels) };
}

/** The labels of pods that they may be for. */
const selectorsOf = (sidecars: readonly Sidecar[]): Iterable<Labels> =>
  new Map(
    sidecars.map((one) => {
      const labels = selectorOfSidecar(one) ?? {};
      return [formatLabels(labels), labels];
    }),
  ).values();
