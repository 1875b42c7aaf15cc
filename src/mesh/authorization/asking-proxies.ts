import { fact, index, relation } from "../../view/view.ts";
import { captured } from "../membership/captured.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { matchLabelsOf } from "../objects/selectors.ts";
import type { CallingProxies } from "../traffic/provider-services.ts";
import { selectorOfSidecar, sidecarsFirst, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";
import { actionOf, targetRefsOf } from "./policies.ts";

/** A CUSTOM policy for workloads, and its namespace. */
const namespaceOfAskingPolicy = relation(
  "namespaceOfAskingPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    actionOf(policy) === "CUSTOM" &&
    isServed(policy, settings) &&
    targetRefsOf(policy).length === 0 &&
    policy.metadata.namespace !== settings.rootNamespace
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByName,
);

/**
 * The proxies that ask a provider for a CUSTOM policy; undefined: they may be in any namespace, as those of a waypoint. Their Sidecar is
 * known if all workloads that the policy selects have a sidecar, and the namespace has no Sidecar for some workloads alone (Istio
 * pilot/pkg/model/push_context.go doGetSidecarScope).
 */
export const askingProxies = fact(
  "askingProxies",
  "AuthorizationPolicy",
  [namespaceOfAskingPolicy, sidecarsOfNamespace, captured],
  (policy, mesh): CallingProxies | undefined => {
    const { namespace } = policy.metadata;
    if (namespace === mesh.settings.rootNamespace || targetRefsOf(policy).length > 0) return undefined;
    const [known] = mesh.related(namespaceOfAskingPolicy, policy);
    const own = known === undefined ? [] : mesh.related(sidecarsOfNamespace, known);
    if (known === undefined || own.some((one) => selectorOfSidecar(one) !== undefined)) return { namespace };
    const captures = mesh.get(captured, known).capturesOf(matchLabelsOf(policy));
    const isOfSidecars = captures.size === 1 && captures.has("sidecar");
    return isOfSidecars ? { namespace, sidecar: own.toSorted(sidecarsFirst)[0] } : { namespace };
  },
);
