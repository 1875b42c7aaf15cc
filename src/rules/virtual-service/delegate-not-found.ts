import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { delegateName, isDelegate, nameOf } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

/** A VirtualService with hosts and the VirtualServices that its routes name as delegates. */
const delegatesOfVirtualService = relation(
  "delegatesOfVirtualService",
  index("VirtualService", (root, settings) =>
    isDelegate(root) || !isServed(root, settings)
      ? []
      : new Set(
          root.spec.http.flatMap((route) => (route.delegate ? [delegateName(route, root.metadata.namespace)] : [])),
        ),
  ),
  index("VirtualService", (one, settings) => (isServed(one, settings) ? [nameOf(one)] : [])),
);

export const virtualServiceDelegateNotFound = defineRule({
  id: "virtual-service-delegate-not-found",
  subject: "VirtualService",
  reads: [delegatesOfVirtualService],
  onlyWithFields: ["spec.http.delegate"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary: "A route delegates to a VirtualService that does not exist, has hosts, or is not exported to it.",
  why: "Istio leaves out a route whose delegate it does not find, and logs that (Istio pilot/pkg/model/virtualservice_controller.go mergeVirtualServices). Its requests go to the next route that matches, or get 404.",
  fix: "Correct the name or the namespace of the delegate, or create the delegate first: a VirtualService without hosts.",

  incident: {
    symptoms: ["no-route"],
    proxies: ["sidecar", "gateway"],
    seen: "Requests that the route takes get 404, or go to the next route that matches.",
    wayOut: "Apply the delegate again if it was deleted, or the previous version of the VirtualService that delegates.",
    silentWhen: "Not all VirtualServices are known; then `check` and `audit` only say that the rule was skipped.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(root, mesh) {
    if (isDelegate(root) || !isServed(root, mesh.settings)) return;
    const found = new Map(mesh.related(delegatesOfVirtualService, root).map((one) => [nameOf(one), one]));
    for (const [i, route] of root.spec.http.entries()) {
      if (route.delegate === undefined) continue;
      const name = delegateName(route, root.metadata.namespace);
      const problem = problemOf(name, found.get(name), root, mesh.settings);
      if (problem === undefined) continue;
      const guess = mesh.knowsAll("VirtualService") ? {} : { guess: "all VirtualServices" };
      yield { at: ["spec", "http", i, "delegate"], ...problem, ...(found.has(name) ? {} : guess) };
    }
  },
});

function problemOf(
  name: string,
  delegate: VirtualService | undefined,
  root: VirtualService,
  settings: MeshSettings,
): Omit<Problem, "at"> | undefined {
  const effect = "so this route does not exist";
  if (delegate === undefined) {
    const [namespace = "", own = ""] = name.split("/");
    return {
      message: `VirtualService ${name} does not exist, ${effect}`,
      evidence: [absent("VirtualService", namespace, own)],
    };
  }
  const known = { related: [delegate], evidence: [delegate] };
  if (!isDelegate(delegate))
    return {
      ...known,
      message: `${idOf(delegate)} has hosts and is no delegate, ${effect}`,
      fix: "Remove `hosts` and `gateways` from the delegate, or name another one.",
    };
  const { metadata, spec } = delegate;
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  if (includesNamespace(visible, root.metadata.namespace)) return undefined;
  return {
    ...known,
    message: `${idOf(delegate)} is not exported to namespace ${root.metadata.namespace}, ${effect}`,
    fix: `Add ${root.metadata.namespace} to the exportTo of the delegate.`,
  };
}
