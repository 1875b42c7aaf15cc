import type { ObjectOf } from "../../kube/object.ts";
import { Candidates } from "../../text/nearest.ts";
import { injectTemplates } from "../objects/labels.ts";

type Pod = ObjectOf<"Workload">["pod"];

/**
 * What the templates of a pod make of its proxy, if it is injected.
 * - `sidecar`: a proxy that captures the pod's traffic; also without the annotation, and with names that are none of
 *   Istio's own, because the injector refuses a name that it does not know.
 * - `router`: a gateway, which captures no traffic of other containers.
 * - `none`: a proxy that captures nothing, or no proxy at all.
 */
export type InjectedProxy = "sidecar" | "router" | "none";

/**
 * The templates of Istio's own injector configuration (manifests/charts/istio-control/istio-discovery/files) that do not
 * redirect the pod's traffic. Each runs another proxy in the container `istio-proxy`, also together with `sidecar`.
 */
const otherTemplates: ReadonlySet<string> = new Set([
  "agentgateway",
  "agentgateway-waypoint",
  "gateway",
  "grpc-agent",
  "grpc-simple",
  "kube-gateway",
  "waypoint",
]);

/** The names in the annotation; undefined: the pod has none, and the injector uses its default. */
export const templatesOf = ({ annotations }: Pod): readonly string[] | undefined =>
  annotations[injectTemplates]?.split(",").map((name) => name.trim());

/**
 * Istio pkg/kube/inject/inject.go selectTemplates: the names are separated by commas and trimmed, and each template is
 * laid over those before it.
 */
export function injectedProxy(pod: Pod): InjectedProxy {
  const others = templatesOf(pod)?.filter((name) => otherTemplates.has(name)) ?? [];
  if (others.length === 0) return "sidecar";
  return others.every((name) => name === "gateway") ? "router" : "none";
}

const ofIstio = new Candidates(["sidecar", ...otherTemplates]);

/**
 * A name in the annotation that is probably a misspelt one of Istio's own templates, for which the injector refuses the pod. A name that
 * continues one of them, such as `gateway-large`, may be a template that the installation adds.
 */
export function misspeltTemplate(pod: Pod): { readonly name: string; readonly meant: string } | undefined {
  for (const name of templatesOf(pod) ?? []) {
    const meant = otherTemplates.has(name) || name === "" ? undefined : ofIstio.nearest(name);
    if (meant !== undefined && !name.startsWith(meant)) return { name, meant };
  }
  return undefined;
}

/** Whether the annotation has names of which none is a template with a sidecar in Istio's own configuration. */
export function hasOnlyCustomTemplates(pod: Pod): boolean {
  const names = templatesOf(pod) ?? [];
  return names.length > 0 && injectedProxy(pod) === "sidecar" && !names.includes("sidecar");
}
