import type { ObjectOf } from "../../kube/object.ts";
import type { InjectorValues } from "../../view/control-planes.ts";
import { isBoolean, isTrueText } from "../objects/parse-bool.ts";
import { injectorNamed } from "./control-plane.ts";
import type { InjectorSettings } from "./injector-selectors.ts";
import { excludeInboundPorts, includeInboundPorts, statusPort } from "./interception.ts";
import type { Namespace } from "./namespaces.ts";

type Pod = ObjectOf<"Workload">["pod"];

export const rewriteProbes = "sidecar.istio.io/rewriteAppHTTPProbers";

/** The annotations that have the same effect as the values of an injector, for pods without their own. */
export const asAnnotations = (values: InjectorValues): Readonly<Record<string, string>> => ({
  [includeInboundPorts]: values.includeInboundPorts,
  [excludeInboundPorts]: values.excludeInboundPorts,
  [statusPort]: values.statusPort,
});

/** The values of the injector that a pod asks for; undefined: those of Istio's chart, or they are not known. */
export function injectorValuesFor(
  { labels }: Pod,
  namespace: Namespace,
  { injection }: InjectorSettings,
): InjectorValues | undefined {
  const name = injectorNamed(labels, namespace);
  return Object.hasOwn(injection, name) ? injection[name]?.values : undefined;
}

/**
 * Whether a pod says itself that the agent takes over its probes, or that it does not; undefined: the injector decides (Istio
 * pkg/kube/inject/app_probe.go ShouldRewriteAppHTTPProbers).
 */
export function rewritesProbes({ annotations }: Pod): boolean | undefined {
  const text = annotations[rewriteProbes];
  return text === undefined || !isBoolean(text) ? undefined : isTrueText(text);
}

/** Whether there may be a probe of these pods that the agent does not take over. */
export function mayKeepProbes(pod: Pod, { injection }: InjectorSettings): boolean {
  if (pod.probes.length === 0) return false;
  const own = rewritesProbes(pod);
  if (own !== undefined) return !own;
  for (const name in injection) if (injection[name]?.values?.rewritesProbes === false) return true;
  return false;
}
