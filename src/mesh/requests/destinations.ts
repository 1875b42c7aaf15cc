import { idOf } from "../../kube/identity.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { clientTlsOf } from "../client-tls/client-tls.ts";
import { hasPolicyRules, policyRuleReads, policyRulesFor } from "../traffic/policy-rules.ts";
import { readers } from "../membership/control-plane.ts";
import { namespaceOfService, type Service } from "../membership/services.ts";
import { type ControlPlane, isReadBy } from "../objects/revision.ts";
import { isAlias, serviceOfAlias } from "../traffic/aliased-hosts.ts";
import {
  type Definition,
  isOfNobody,
  namespaceOfEntry,
  serviceEntriesBesideService,
  serviceEntryByHost,
} from "../traffic/definition-choice.ts";
import { destinationRulesFor } from "../traffic/destination-rule-lookup.ts";
import { destinationRuleOf } from "../traffic/destination-rules-of-host.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import { type DestinationRule, destinationRuleByHost } from "../traffic/destination-rules.ts";
import { coveringHosts, hostOfService } from "../traffic/hosts.ts";
import { aliased, aliasReads } from "./aliases.ts";
import { type Arrival, destinationOf, type Named, nowhere, outsideMesh, unknown } from "./arrival.ts";
import { BehindPort, behindPortReads, type Sent } from "./behind-port.ts";
import { ClientScope, scopeReads } from "./client-scope.ts";
import { portOfDefinition, type ServiceEntry } from "./definitions.ts";
import { chosenEntry } from "./entry-choice.ts";
import type { RouteDestination, Source } from "./outcome.ts";

/** A Service and every DestinationRule that can match its host. */
export const destinationRulesOfService = relation(
  "destinationRulesOfService",
  index("Service", (service, { domain }) => coveringHosts(hostOfService(service, domain))),
  destinationRuleByHost,
);

/** A fact, because very many clients of a Service can be told apart. */
export const rulesForService = fact(
  "rulesForService",
  "Service",
  [destinationRulesOfService],
  (service, mesh): readonly DestinationRule[] => mesh.related(destinationRulesOfService, service),
);

/** A ServiceEntry and every DestinationRule that can match a host for which it has a name. */
export const destinationRulesOfEntry = relation("destinationRulesOfEntry", serviceEntryByHost, destinationRuleByHost);

/** What `Destinations` reads. */
export const destinationReads = [
  rulesForService,
  destinationRulesOfEntry,
  ...policyRuleReads,
  serviceEntriesBesideService,
  namespaceOfService,
  namespaceOfEntry,
  readers,
  ...scopeReads,
  ...aliasReads,
  ...behindPortReads,
] as const;
type View = MeshView<(typeof destinationReads)[number]>;

/** The destinations of one client. */
export class Destinations {
  readonly scope: ClientScope;
  readonly #source: Source;
  readonly #mesh: View;
  readonly #behindPort: BehindPort;
  readonly #rules = new Map<string, MergedDestinationRule | undefined>();
  #controlPlane: { readonly value: ControlPlane } | undefined;

  constructor(source: Source, isWaypoint: boolean, mesh: View) {
    this.scope = new ClientScope(source, isWaypoint, mesh);
    this.#source = source;
    this.#mesh = mesh;
    this.#behindPort = new BehindPort(source, isWaypoint, mesh);
  }

  arrivalAt(named: Named): Arrival {
    const service = named.objects.find((object) => object.kind === "Service");
    const entries = named.objects.filter((object) => object.kind === "ServiceEntry");
    if (named.missing !== undefined) return nowhere(destinationOf(named, service), named.missing);
    if (service !== undefined) return this.#imported(this.#arrivalAtService(named, service), named);
    return entries.length === 0
      ? this.#withoutDefinition(named)
      : this.#imported(this.#arrivalAtEntry(named, entries), named);
  }

  /** An egress listener of a port imports for this port alone, so that what a route at it names may not be there. */
  #imported(arrival: Arrival, { name, by }: Named): Arrival {
    const definition = arrival.backend?.object;
    if (by === undefined || definition === undefined) return arrival;
    const { host, port } = arrival.destination;
    const withheld = this.scope.withholds({ host: name ?? host, port, definition }, by);
    if (withheld === undefined) return arrival;
    return withheld.isSure
      ? nowhere(arrival.destination, withheld.because)
      : unknown(arrival.destination, withheld.because);
  }

  /** What is sent to the address that the client looked up, which is outside the mesh as far as is known. */
  beyond(host: string, port: number): Arrival {
    return outsideMesh(destinationOf({ host, port, subset: undefined, share: 1, objects: [] }, undefined));
  }

  #arrivalAtService(named: Named, service: Service): Arrival {
    const of = destinationOf(named, service);
    const [namespace] = this.#mesh.related(namespaceOfService, service);
    if (isAlias(service)) {
      const unknownAlias = this.scope.keeps(service);
      return unknownAlias === undefined ? this.#throughAlias(named, service) : nowhere(of, unknownAlias);
    }
    const doubt = doubtAbout(service, this.#mesh.related(serviceEntriesBesideService, service));
    if (namespace === undefined || doubt !== undefined) return unknown(of, doubt ?? "its namespace is not known");
    const kept = this.#kept(service, named);
    if (kept !== undefined) return this.#hasOwn(service, named) ? unknown(of, ofNobody) : nowhere(of, kept);
    return this.#arrivalAtPort({ of, object: service, namespace }, hostOfService(service, this.#mesh.settings.domain));
  }

  /** Whether a route leads to a Service of the client's own namespace that is exported to nobody. */
  #hasOwn(service: Service, { isRouted }: Named): boolean {
    const isOwn = service.metadata.namespace === this.scope.client && !this.#source.isGateway;
    return isRouted === true && isOwn && isOfNobody(service);
  }

  #kept(definition: Definition, { isRouted }: Named): string | undefined {
    return isRouted === true ? this.scope.keepsRouted(definition) : this.scope.keeps(definition);
  }

  /**
   * A route to an alias leads to the host that it stands for, of one step, if the client knows the alias at the port (Istio
   * pilot/pkg/networking/core/route/route.go GetDestinationCluster).
   */
  #throughAlias(named: Named, alias: Service): Arrival {
    const { service, entries, host } = aliased(alias, this.#mesh);
    const [next] = this.#mesh.related(serviceOfAlias, alias);
    if (next !== undefined && isAlias(next))
      return nowhere(
        destinationOf(named, alias),
        `${idOf(alias)} stands for another alias, which routes do not follow`,
      );
    const objects = service === undefined ? entries : [service];
    return this.arrivalAt({ ...named, host, objects, isRouted: false, by: undefined });
  }

  /** What a route names is imported with the VirtualService. */
  #arrivalAtEntry(named: Named, entries: readonly ServiceEntry[]): Arrival {
    const { host, port, name } = named;
    const [first] = entries;
    const to = { host, port, entries };
    const { settings } = this.#mesh;
    const choice =
      name !== undefined && first !== undefined
        ? ({ kind: "defined", name, entry: first } as const)
        : chosenEntry(to, this.#source, (_, entry) => this.#kept(entry, named), settings);
    if (choice.kind === "undecided") return unknown(destinationOf(named, first), choice.because);
    if (choice.kind !== "defined") return nowhere(destinationOf(named, first), choice.because);
    const of = destinationOf(named, choice.entry);
    const [namespace] = this.#mesh.related(namespaceOfEntry, choice.entry);
    if (namespace === undefined) return unknown(of, "its namespace is not known");
    return this.#arrivalAtPort({ of, object: choice.entry, namespace }, choice.name);
  }

  /** `name`: by which the client has its configuration for the host. */
  #arrivalAtPort(sent: Pick<Sent, "of" | "object" | "namespace">, name: string): Arrival {
    const { object } = sent;
    const merged = this.#ruleFor(name, object);
    const of = { ...sent.of, rules: merged?.from ?? [] };
    const missing = this.scope.withoutEndpoints(object);
    if (missing !== undefined) return nowhere(of, missing);
    if (portOfDefinition(object, of.port) === undefined) return nowhere(of, `${idOf(object)} has no port ${of.port}`);
    const subset = merged?.subsets.find((one) => one.name === of.subset);
    if (of.subset !== undefined && subset === undefined) return this.#withoutSubset(of, of.subset, merged);
    const tls = clientTlsOf(merged, of.port, subset, this.#source.isGateway);
    const next = { ...sent, of, labels: subset?.labels ?? {}, tls };
    return this.#behindPort.arrivalAt(next, name);
  }

  #withoutDefinition(named: Named): Arrival {
    const of = destinationOf(named, undefined);
    const isComplete = this.#mesh.knowsAll("Service") && this.#mesh.knowsAll("ServiceEntry");
    const missing = `there is no Service and no ServiceEntry for host ${named.host}`;
    return isComplete ? nowhere(of, missing) : unknown(of, `${missing}, as far as is known`);
  }

  #withoutSubset(of: RouteDestination, subset: string, merged: MergedDestinationRule | undefined): Arrival {
    const known = merged?.subsets.map(({ name }) => name).join(", ");
    const because =
      merged === undefined || merged.from.length === 0
        ? `subset ${JSON.stringify(subset)} is not defined: no DestinationRule applies to these clients`
        : `subset ${JSON.stringify(subset)} is not defined: ${merged.from.map(idOf).join(", ")} has ${known || "no subsets"}`;
    return this.#mesh.knowsAll("DestinationRule")
      ? nowhere(of, because)
      : unknown(of, `${because}, as far as is known`);
  }

  /** The DestinationRules that the proxy of the client uses for a host, merged with what istiod makes of BackendTLSPolicies. */
  #ruleFor(name: string, object: Definition): MergedDestinationRule | undefined {
    if (this.#source.sender !== "proxy") return undefined;
    const key = `${object.metadata.namespace}/${name}`;
    if (!this.#rules.has(key)) this.#rules.set(key, this.#findRule(name, object));
    return this.#rules.get(key);
  }

  #findRule(name: string, object: Definition): MergedDestinationRule | undefined {
    const { settings } = this.#mesh;
    const controlPlane = this.controlPlane;
    const all =
      object.kind === "Service"
        ? this.#mesh.get(rulesForService, object)
        : this.#mesh.under(destinationRulesOfEntry, coveringHosts(name));
    const read = [...policyRulesFor(name, this.#definedBy(object), this.#mesh), ...all].filter(
      (rule: DestinationRule) => isReadBy(rule, controlPlane, settings),
    );
    if (read.length === 0) return undefined;
    const { client } = this.scope;
    const destination = { host: name, namespace: object.metadata.namespace };
    return destinationRuleOf(this.#source.labels, client, destinationRulesFor(client, destination, read, settings));
  }

  /** A ServiceEntry of the same namespace, or of the root namespace, may define the host of a Service too, and have policies. */
  #definedBy(object: Definition): readonly Definition[] {
    if (object.kind === "ServiceEntry" || !hasPolicyRules(this.#mesh)) return [object];
    return [object, ...this.#mesh.related(serviceEntriesBesideService, object)];
  }

  /** Undefined: any of them may configure the client. */
  get controlPlane(): ControlPlane {
    this.#controlPlane ??= { value: this.#findControlPlane() };
    return this.#controlPlane.value;
  }

  #findControlPlane(): ControlPlane {
    const { namespace, labels, waypoint } = this.#source;
    const found = namespace && this.#mesh.get(readers, namespace);
    return waypoint === undefined ? found?.ofSidecar(labels) : found?.ofGateway(waypoint);
  }
}

const ofNobody = "the Service is exported to nobody, and istiod may not know its endpoints";

/** Why the pods behind a Service are not known; undefined: they are. */
function doubtAbout(service: Service, entries: readonly ServiceEntry[]): string | undefined {
  const { type, selector } = service.spec;
  if (type === "ExternalName") return `${idOf(service)} is an alias without a name`;
  if (Object.keys(selector).length === 0)
    return `${idOf(service)} selects no pods, so that its endpoints are written by hand`;
  const [entry] = entries;
  return entry && `${idOf(entry)} defines the same host, and may add endpoints`;
}
