import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { AnyObject } from "../../kube/object.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { fullHost, isWildcard } from "../../mesh/traffic/hosts.ts";
import { callersAskedFor, routing } from "../../mesh/traffic/subset-clients.ts";
import { type SubsetFailure, subsetFailures } from "../../mesh/traffic/subset-failures.ts";
import { subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import { anyOtherNamespace, type SubsetTarget } from "../../mesh/traffic/subsets.ts";
import { type Traffic, trafficOf } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const virtualServiceSubsetNotFound = defineRule({
  id: "virtual-service-subset-not-found",
  subject: "VirtualService",
  reads: [routing, subsetsOfHost],
  worksWithout: ["Gateway", "ServiceEntry", "Workload"],
  mode: "deny",
  since: "0.1.0",
  tags: ["canary"],
  summary:
    "A destination or mirror with traffic names a subset that the DestinationRule its clients use does not define.",
  why: "Envoy has no cluster for such a subset and answers 503 (Istio pilot/pkg/networking/core/route/route.go GetDestinationCluster). Clients use one DestinationRule: that of their own namespace, else of the service's, else of the root namespace (pilot/pkg/model/push_context.go destinationRule).",
  fix: "Correct the name of the subset, or define it in the DestinationRule before it is used. To remove a subset, remove its last use first.",

  *check(virtualService, mesh) {
    const { settings } = mesh;
    if (!isServed(virtualService, settings)) return;
    // Many routes use the same subset.
    const hosts = new Map<string, KnownHost>();
    for (const traffic of trafficOf(virtualService)) {
      const { host: said, subset } = traffic.destination;
      if (!subset) continue;
      let known = hosts.get(said);
      if (known === undefined) {
        const host = fullHost(said, virtualService.metadata.namespace, settings.domain);
        known = { host, subsets: mesh.get(subsetsOfHost, host), found: new Map() };
        hosts.set(said, known);
      }
      const callers = callersAskedFor(traffic);
      const key = callers === "" ? subset : `${subset}\n${callers}`;
      let found = known.found.get(key);
      if (found === undefined) {
        const target: SubsetTarget = { ...known, subset };
        const failures = known.subsets.isDefinedForAll(subset)
          ? none
          : subsetFailures(mesh.get(routing, virtualService), traffic, target);
        found = { target, failures };
        known.found.set(key, found);
        mesh.visited(found.failures.length);
      }
      if (found.failures.length > 0) yield* problemsOf(found.failures, { traffic, target: found.target, settings });
    }
  },
});

const none: readonly SubsetFailure[] = [];

/** A host of destinations; `found` is keyed by subset and callers. */
interface KnownHost extends Omit<SubsetTarget, "subset"> {
  readonly found: Map<string, Known>;
}

/** The look-up result of a subset's clients. */
interface Known {
  readonly target: SubsetTarget;
  readonly failures: readonly SubsetFailure[];
}

/** The place where a subset is used. */
interface Asked {
  readonly traffic: Traffic;
  readonly target: SubsetTarget;
  readonly settings: MeshSettings;
}

function* problemsOf(failures: readonly SubsetFailure[], asked: Asked): Iterable<Problem> {
  const { traffic, target } = asked;
  const isNowhere = target.subsets.isNowhere(target.subset);
  for (const failure of failures) {
    const isWarning = !failure.isGrave || traffic.isUncertain;
    const fix = fixOf(failure, target);
    const identity = [target.host, target.subset, failure.client?.namespace, failure.lookup.definedFor, isWarning];
    yield {
      at: [...traffic.at, "subset"],
      message: messageOf(failure, target, isNowhere && failures.length === 1),
      key: JSON.stringify(identity),
      evidence: witnessesOf(failure, asked, isNowhere),
      ...(isWarning ? { atMost: "warn" } : {}),
      ...(fix === undefined ? {} : { fix }),
    };
  }
}

function messageOf({ client, lookup }: SubsetFailure, { host, subset }: SubsetTarget, isForAll: boolean): string {
  const who = clientsNamed(client, lookup.definedFor === "some");
  if (lookup.used.length === 0)
    return `No DestinationRule${isForAll ? "" : ` that ${who} use`} for "${host}" defines subset "${subset}"`;
  const names = namesOf(lookup.used);
  const defines = `${names} ${lookup.used.length === 1 ? "defines" : "define"} ${listed(lookup.subsets)}`;
  return `Subset "${subset}" of "${host}" does not exist${isForAll ? "" : ` for ${who}`}: DestinationRule ${defines}`;
}

const named = new WeakMap<readonly DestinationRule[], string>();

/** The result is stored, because many subsets can be missing in the same rules. */
function namesOf(rules: readonly DestinationRule[]): string {
  let names = named.get(rules);
  if (names === undefined) {
    names = rules.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(" and ");
    named.set(rules, names);
  }
  return names;
}

function clientsNamed(client: SubsetFailure["client"], isForSome: boolean): string {
  if (client === undefined) return "its clients";
  if (client.namespace === anyOtherNamespace) return "clients in other namespaces";
  if (client.gateway !== undefined) return `gateway pods in "${client.namespace}"`;
  return `${isForSome ? "some workloads" : "clients"} in "${client.namespace}"`;
}

/** Enough to see a misspelling; a generated rule may define hundreds. */
const maxListed = 10;
function listed(subsets: readonly string[]): string {
  if (subsets.length === 0) return "no subset";
  const shown = subsets.slice(0, maxListed).map((name) => JSON.stringify(name));
  return [...shown, ...(subsets.length > maxListed ? ["…"] : [])].join(", ");
}

function fixOf({ lookup }: SubsetFailure, { host, subset, subsets }: SubsetTarget): string | undefined {
  if (host !== host.toLowerCase()) return "Write the host in lower case, as the service is named.";
  const elsewhere = subsets.rules.defining(subset).find((rule) => !lookup.used.includes(rule));
  if (elsewhere === undefined) return undefined;
  const { namespace, name } = elsewhere.metadata;
  return `DestinationRule ${namespace}/${name} defines "${subset}", but these clients do not use it. Export it to them (spec.exportTo), or define the subset in the DestinationRule that they use.`;
}

/** The evidence: the DestinationRules without the subset, or the namespaces in which one for this host may be missing. */
function witnessesOf({ client, lookup, root }: SubsetFailure, asked: Asked, isNowhere: boolean): readonly Evidence[] {
  const { target, settings } = asked;
  const [used] = lookup.used;
  const places = new Set([...target.subsets.serviceNamespaces, settings.rootNamespace]);
  if (client !== undefined && client.namespace !== anyOtherNamespace) places.add(client.namespace);
  const isMissing = used === undefined || isWildcard(hostOfRule(used, settings));
  const missing = isMissing ? [...places].map((namespace) => absent("DestinationRule", namespace)) : [];
  // The gateway finds no subset in any namespace, so its namespace does not matter.
  const gateway: readonly AnyObject[] =
    client?.gateway === undefined || isNowhere ? [] : [client.gateway.gateway, client.gateway.workload];
  const others = [...missing, ...gateway, ...(root ? [root] : [])];
  return others.length === 0 ? lookup.used : [...lookup.used, ...others];
}
