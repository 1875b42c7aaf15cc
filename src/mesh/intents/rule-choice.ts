import { revisionLabel } from "../objects/labels.ts";
import type { Target } from "../requests/question.ts";
import { rulesForService } from "../requests/destinations.ts";
import { destinationRulesFor } from "../traffic/destination-rule-lookup.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { hostOfService } from "../traffic/hosts.ts";
import type { VerdictView } from "./verdicts.ts";

/**
 * Whether clients of all namespaces send to the host of a Service by the same DestinationRules on both sides of a change, or by
 * such as set neither TLS nor subsets. The rule of the root namespace is used only where neither the client's namespace nor that
 * of the Service has one (Istio pilot/pkg/model/push_context.go destinationRule).
 */
export function hasSameRules(
  { service }: Target & { kind: "service" },
  before: VerdictView,
  after: VerdictView,
): boolean {
  const [old, now] = [before, after].map((mesh) => mesh.get(rulesForService, service));
  if (old === undefined || now === undefined) return false;
  const all = [...old, ...now];
  // Control planes that read different rules are not told apart.
  if (all.some(({ metadata }) => metadata.labels[revisionLabel] !== undefined)) return false;
  const named = all.flatMap(({ metadata, spec }) => [metadata.namespace, ...spec.exportTo]);
  const { settings } = after;
  const of = { host: hostOfService(service, settings.domain), namespace: service.metadata.namespace };
  // No namespace has the empty name, which stands for all that no rule names.
  return [...new Set(["", ...named])].every((client) => {
    const [was, is] = [old, now].map((rules) => decisiveOf(destinationRulesFor(client, of, rules, settings)));
    return was?.length === is?.length && was?.every((rule, i) => rule === is?.[i]) === true;
  });
}

/** The rules of a client; none, if they set nothing that decides about requests. */
function decisiveOf(merged: readonly { readonly from: readonly DestinationRule[] }[]): readonly DestinationRule[] {
  const all = merged.flatMap(({ from }) => from);
  return all.every(setsNothing) ? [] : all;
}

/** Not even ISTIO_MUTUAL, which differs from auto mTLS where the server takes none. */
const setsNothing = ({ spec: { subsets, trafficPolicy } }: DestinationRule): boolean =>
  subsets.length === 0 &&
  trafficPolicy?.tls === undefined &&
  trafficPolicy?.proxyProtocol === undefined &&
  trafficPolicy?.portLevelSettings.every(({ tls }) => tls === undefined) !== false;
