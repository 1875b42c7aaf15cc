import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { delegateName, isDelegate, nameOf, rootsOfDelegate } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A VirtualService that delegates, and the VirtualServices with the names of its delegates, delegates or not. */
const namedAsDelegates = relation(
  "namedAsDelegates",
  rootsOfDelegate.to,
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) ? [nameOf(virtualService)] : [],
  ),
);

export const virtualServiceDelegateNotFound = defineRule({
  id: "virtual-service-delegate-not-found",
  subject: "VirtualService",
  reads: [namedAsDelegates],
  mode: "warn",
  since: "0.1.0",
  summary: "A route delegates to a VirtualService that does not exist, is no delegate, or is not exported to it.",
  why: "Such a route is dropped, and istiod only logs a warning, so its requests go to the routes behind it, or get 404 (Istio pilot/pkg/model/virtualservice_controller.go mergeVirtualServices). A delegate is a VirtualService without hosts, and has to be visible to the namespace of the VirtualService that delegates to it.",
  fix: "Create the delegate first, without `hosts`, or correct its name, its namespace or its exportTo.",

  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway", "sidecar"],
    seen: "Requests for the paths of the delegate get 404, or are answered by a route behind it. istiod logs that the delegate is not found or not exported.",
    wayOut:
      "Apply the delegate again if it was deleted, or the previous version of the VirtualService that delegates to it.",
    silentWhen: "The route is in a delegate itself, of which istiod reads no further delegates.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    const delegating = [...virtualService.spec.http.entries()].filter(([, { delegate }]) => delegate !== undefined);
    if (delegating.length === 0 || isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
    const { namespace } = virtualService.metadata;
    const named = new Map(mesh.related(namedAsDelegates, virtualService).map((one) => [nameOf(one), one]));
    for (const [i, route] of delegating) {
      const name = delegateName(route, namespace);
      const found = named.get(name);
      const wrong = found === undefined ? "does not exist" : faultOf(found, namespace, mesh);
      if (wrong === undefined) continue;
      yield {
        at: ["spec", "http", i, "delegate"],
        message: `VirtualService ${name} ${wrong}, so istiod drops this route`,
        ...(found === undefined ? missing(name, mesh) : { evidence: [found], related: [found] }),
      };
    }
  },
});

function missing(name: string, mesh: MeshView): Pick<Problem, "evidence" | "guess"> {
  const [namespace = "", own = ""] = name.split("/");
  const evidence = [absent("VirtualService", namespace, own)];
  return mesh.knowsAll("VirtualService") ? { evidence } : { evidence, guess: "all VirtualServices" };
}

function faultOf(found: VirtualService, namespace: string, { settings }: MeshView): string | undefined {
  const { metadata, spec } = found;
  if (!isDelegate(found)) return `has hosts of its own (${idOf(found)} is no delegate)`;
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  return includesNamespace(visible, namespace) ? undefined : `is not exported to namespace ${namespace}`;
}
