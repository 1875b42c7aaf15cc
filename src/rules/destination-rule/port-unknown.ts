import { defineRule, type Problem } from "../../engine/rule.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import {
  definitionsOfRule,
  entriesOfDestinationRule,
  servicesOfDestinationRule,
} from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

export const destinationRulePortUnknown = defineRule({
  id: "destination-rule-port-unknown",
  subject: "DestinationRule",
  reads: [servicesOfDestinationRule, entriesOfDestinationRule],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls"],
  summary: "The settings of a DestinationRule for one port are for a port that its host does not have.",
  why: "A port in portLevelSettings is one of the Service, and not of its pods (Istio pilot/pkg/networking/util/util.go GetPortLevelTrafficPolicy). Settings for another port are used for none, so that TLS, limits and outlier detection are those of the whole host.",
  fix: "Name the port of the Service, which is the one that clients connect to, and not its targetPort.",
  incident: {
    symptoms: ["no-effect", "reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients use the settings of the whole host. If those for the port were to disable or originate TLS, the server resets the connections.",
    wayOut: "Correct the number of the port.",
    silentWhen: "The host is a wildcard, is not known, or is an alias (ExternalName).",
    page: "https://istio.io/latest/docs/reference/config/networking/destination-rule/",
  },

  *check(rule, mesh) {
    if (!isServed(rule, mesh.settings)) return;
    const { trafficPolicy, subsets } = rule.spec;
    const named: [Problem["at"], number][] = [...portsIn(trafficPolicy, ["spec", "trafficPolicy"])];
    for (const [i, subset] of subsets.entries())
      named.push(...portsIn(subset.trafficPolicy, ["spec", "subsets", i, "trafficPolicy"]));
    if (named.length === 0) return;
    const definitions = definitionsOfRule(rule, mesh);
    const ports = portsOf(definitions);
    if (ports === undefined) return;
    for (const [at, port] of named)
      if (!ports.has(port))
        yield {
          at,
          message: `"${hostOfRule(rule, mesh.settings)}" has no port ${port}, so these settings have no effect`,
          evidence: definitions,
          related: definitions,
        };
  },
});

function* portsIn(policy: TrafficPolicy, at: Problem["at"]): Iterable<[Problem["at"], number]> {
  for (const [i, { port }] of (policy?.portLevelSettings ?? []).entries())
    if (port?.number) yield [[...at, "portLevelSettings", i, "port", "number"], port.number];
}

/** The ports of all definitions; undefined: they are not known. */
function portsOf(definitions: readonly Definition[]): ReadonlySet<number> | undefined {
  const ports = new Set<number>();
  for (const definition of definitions) {
    if (definition.kind === "ServiceEntry") for (const { number } of definition.spec.ports) ports.add(number ?? 0);
    else if (definition.spec.type === "ExternalName") return undefined;
    else for (const { port } of definition.spec.ports) ports.add(port ?? 0);
  }
  return definitions.length === 0 ? undefined : ports;
}
