import { defineRule, type Problem } from "../../engine/rule.ts";
import { proxyConfigAnnotation, type ProxyConfigFields, proxyConfigOf } from "../../kube/proxy-config.ts";
import { proxyConfigOfGateway } from "../../mesh/membership/gateway-proxies.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { actionOnSlashes } from "../../view/settings.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { setting } from "../../view/view.ts";

export const proxyNormalizesPathsLess = defineRule({
  id: "proxy-normalizes-paths-less",
  subject: ["Workload", "KubernetesGateway"],
  reads: [setting("mergesSlashes"), setting("decodesSlashes")],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary: "A proxy leaves slashes in paths that the mesh config has all proxies merge or decode.",
  why: "Policies compare paths after the proxy normalized them. `connectionSettings` of a proxy config go before `pathNormalization` of the mesh config (Istio pilot/pkg/networking/core/connection_settings.go applyConnectionSettingsToHCM), so that a request for `//admin` or `/x%2F..%2Fadmin` evades a DENY for `/admin` at this proxy, while the application may treat it as the same.",
  fix: "Remove httpMergeSlashes and httpPathWithEscapedSlashesAction from the annotation.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The access log has requests with several slashes or `%2F` in the path, which policies for the path without them do not deny.",
    wayOut: "Apply the previous version of the object, and create the pods of the proxy again.",
    silentWhen:
      "The mesh config neither merges nor decodes slashes either. The mesh config itself is checked by mesh-config-weakened.",
    page: "https://istio.io/latest/docs/reference/config/security/normalization/",
  },

  *check(object, { settings }) {
    const proxy = proxyOf(object, settings);
    const { httpMergeSlashes, httpPathWithEscapedSlashesAction: action } = proxy?.config?.connectionSettings ?? {};
    if (proxy === undefined) return;
    if (settings.mergesSlashes && httpMergeSlashes === false)
      yield problemAt(proxy.at, "does not merge slashes in paths", "httpMergeSlashes false");
    if (settings.decodesSlashes && actionOnSlashes(action) === false)
      yield problemAt(proxy.at, "leaves escaped slashes in paths", `httpPathWithEscapedSlashesAction ${action}`);
  },
});

const problemAt = (at: Problem["at"], what: string, field: string): Problem => ({
  at,
  message: `The proxy ${what}, unlike the others of the mesh, so that requests evade paths in AuthorizationPolicies: connectionSettings.${field} in annotation ${proxyConfigAnnotation}`,
  key: field,
});

interface ProxyOf {
  readonly at: Problem["at"];
  readonly config: ProxyConfigFields | undefined;
}

/** The proxy of a workload, or of a Gateway whose pods get its annotations; undefined: it is none of Istio's. */
function proxyOf(object: Workload | KubernetesGateway, settings: MeshSettings): ProxyOf | undefined {
  if (object.kind === "KubernetesGateway")
    return hasClassOfIstio(object, settings) ? proxyConfigOfGateway(object) : undefined;
  const { pod, podAt } = object;
  return { at: [...podAt, "metadata", "annotations", proxyConfigAnnotation], config: proxyConfigOf(pod.annotations) };
}
