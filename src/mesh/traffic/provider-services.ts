import type { ObjectOf } from "../../kube/object.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";
import { type MeshConfig, partsOfService } from "../membership/mesh-config.ts";
import { serviceByNamespace } from "../objects/indexes.ts";
import {
  type DeclaredProtocol,
  declaredProtocol,
  isHttp2,
  isHttp2Port,
  parsedProtocol,
  portByNumber,
} from "../membership/service-protocol.ts";
import { isExternalName, type Service } from "../membership/services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type Definition, entryByHost, serviceByHost, serviceVisibleTo } from "./definition-choice.ts";
import { destinationRuleByHost } from "./destination-rules.ts";
import { includesNamespace } from "./export-to.ts";
import { gatewayByGeneratedHost } from "./generated-services.ts";
import { coveringHostsOfAll, hostOfService, namespaceOfHost } from "./hosts.ts";
import { isRegistryComplete } from "./registry.ts";
import { Egress, type Sidecar } from "./sidecar-egress.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type Provider = MeshConfig["mesh"]["extensionProviders"][number];

/** The fields of a provider that istiod calls for AuthorizationPolicies. */
const forAuthorization = ["envoyExtAuthzHttp", "envoyExtAuthzGrpc"] as const;
/** Those that Telemetries use (Istio pilot/pkg/model/telemetry_logging.go, pilot/pkg/networking/core/tracing.go). */
const forTelemetry = [
  "zipkin",
  "datadog",
  "skywalking",
  "opentelemetry",
  "envoyTcpAls",
  "envoyHttpAls",
  "envoyOtelAls",
] as const;

/** Those that are called by gRPC; of `opentelemetry`, `http` says that it is not. */
const byGrpc: ReadonlySet<string> = new Set([
  "envoyExtAuthzGrpc",
  "skywalking",
  "opentelemetry",
  "envoyTcpAls",
  "envoyHttpAls",
  "envoyOtelAls",
]);

/** What an extension provider calls. */
interface Called {
  /** `host` or `namespace/host`. */
  readonly service: string;
  /** Undefined: it is not known. */
  readonly port: number | undefined;
  readonly isGrpc: boolean;
}

/** Undefined: the provider calls nothing. */
function calledBy(provider: Provider): Called | undefined {
  for (const field of [...forAuthorization, ...forTelemetry]) {
    const called = provider[field];
    if (!called?.service) continue;
    const port = Number(called.port.replaceAll('"', "") || 0);
    const isGrpc = byGrpc.has(field) && !(field === "opentelemetry" && provider.opentelemetry?.http !== undefined);
    return { service: called.service, port: port >= 1 && port <= 65_535 ? port : undefined, isGrpc };
  }
  return undefined;
}

const hostsCalled = ({ mesh }: MeshConfig): ReadonlySet<string> =>
  new Set(
    mesh.extensionProviders.flatMap((provider) => {
      const called = calledBy(provider);
      return called === undefined ? [] : [partsOfService(called.service).host];
    }),
  );
/** MeshConfigs by the hosts that their extension providers call. */
export const hostOfProvider = index("MeshConfig", hostsCalled);

/** A MeshConfig and the Services that its extension providers call. */
const servicesOfProviders = relation("servicesOfProviders", hostOfProvider, serviceByHost);
/** A MeshConfig and the ServiceEntries with the hosts that its extension providers call. */
const entriesOfProviders = relation("entriesOfProviders", hostOfProvider, entryByHost);
/** A MeshConfig and the Gateways for which istiod may create a Service that its extension providers call. */
const gatewaysGeneratingForProviders = relation(
  "gatewaysGeneratingForProviders",
  hostOfProvider,
  gatewayByGeneratedHost,
  "identity",
);
/** A MeshConfig and all Services of the namespaces of these hosts. */
const servicesNearProviders = relation(
  "servicesNearProviders",
  index(
    "MeshConfig",
    (config, { domain }) => new Set([...hostsCalled(config)].flatMap((host) => namespaceOfHost(host, domain) ?? [])),
  ),
  serviceByNamespace,
);

/** A MeshConfig and the DestinationRules for these hosts, which can make a proxy call them by HTTP/2. */
const destinationRulesOfProviders = relation(
  "destinationRulesOfProviders",
  index("MeshConfig", (config) => coveringHostsOfAll([...hostsCalled(config)])),
  destinationRuleByHost,
  "identity",
);

/** Why what a provider calls is not reached. */
interface LostService {
  /** The service as it is written, and the reason. */
  readonly what: string;
  readonly fix: string;
  /** The Service, or else the ServiceEntry, that is missing or has not what is called; the Sidecar that does not import it. */
  readonly evidence: readonly (Missing | Definition | Sidecar)[];
  /** The namespace that would have the Service; undefined: the host has not the form of a Service's, or some exist. */
  readonly namespace: string | undefined;
  /** Whether istiod finds the service all the same, and proxies try to call it. */
  readonly isTried: boolean;
}
interface Missing {
  readonly absent: "Service" | "ServiceEntry";
  readonly namespace: string;
  readonly name: string | undefined;
  /** Another cluster of the mesh may have it (engine/evidence.ts). */
  readonly isJoined?: true;
}

/** What a provider calls: what defines it, or why it is not reached from anywhere. */
type Target = Found | LostService;
interface Found {
  readonly definitions: readonly Definition[];
}

/**
 * What extension providers call, by the key of that. istiod compares whole hosts and completes no names; without a namespace,
 * exactly one namespace must have the host. It makes the name of a cluster of that and the port, and does not ask whether there is such a
 * cluster (Istio pilot/pkg/model/telemetry_logging.go LookupCluster).
 */
const providerTargets = fact(
  "providerTargets",
  "MeshConfig",
  [servicesOfProviders, entriesOfProviders, destinationRulesOfProviders, gatewaysGeneratingForProviders],
  (config, mesh): ReadonlyMap<string, Target> => {
    const { domain } = mesh.settings;
    const definitionsOf = new DefinitionsByHost(
      mesh.related(servicesOfProviders, config),
      mesh.related(entriesOfProviders, config),
      domain,
    );
    // Whether they are for the same host, and change the protocol, is not asked.
    const isUpgraded =
      config.mesh.h2UpgradePolicy === "UPGRADE" ||
      !mesh.knowsAll("DestinationRule") ||
      mesh.related(destinationRulesOfProviders, config).length > 0;
    const targets = new Map<string, Target>();
    for (const called of config.mesh.extensionProviders.map(calledBy)) {
      if (called === undefined || targets.has(keyOf(called))) continue;
      const { host } = partsOfService(called.service);
      const isGenerated = definitionsOf.of(host).length === 0 && mesh.hasUnder(gatewaysGeneratingForProviders, host);
      const target = isGenerated ? { definitions: [] } : targetOf(called, definitionsOf, domain);
      targets.set(keyOf(called), isLost(target) ? target : (unusablePort(called, target, isUpgraded) ?? target));
    }
    return targets;
  },
);

class DefinitionsByHost {
  readonly #all = new Map<string, Definition[]>();

  constructor(services: readonly Service[], entries: readonly ServiceEntry[], domain: string) {
    for (const service of services) this.#add(hostOfService(service, domain), service);
    for (const entry of entries) for (const host of entry.spec.hosts) this.#add(host, entry);
  }

  #add(host: string, one: Definition): void {
    const known = this.#all.get(host);
    if (known === undefined) this.#all.set(host, [one]);
    else known.push(one);
  }

  of(host: string): readonly Definition[] {
    return this.#all.get(host) ?? [];
  }
}

const isLost = (target: Target): target is LostService => "what" in target;

const keyOf = ({ service, port, isGrpc }: Called): string => `${service} ${port ?? ""} ${isGrpc}`;

function targetOf({ service }: Called, definitionsOf: DefinitionsByHost, domain: string): Target {
  const { host, namespace } = partsOfService(service);
  const what = JSON.stringify(service);
  // Hosts of a cluster set may be in another cluster.
  if (host.endsWith(".svc.clusterset.local")) return { definitions: [] };
  const all = definitionsOf.of(host);
  const there = new Set(all.map(({ metadata }) => metadata.namespace));
  if (namespace === undefined ? there.size === 1 : there.has(namespace))
    return { definitions: all.filter(({ metadata }) => metadata.namespace === (namespace ?? metadata.namespace)) };
  const [some] = [...there].sort();
  if (some !== undefined)
    return {
      what: `${what}, which ${namespace === undefined ? "several namespaces define" : "is in another namespace"}`,
      fix: `Set \`service\` of the provider to the namespace and the host, such as "${some}/${host}".`,
      evidence: [],
      namespace: undefined,
      isTried: false,
    };
  const ofService = namespaceOfHost(host, domain);
  return {
    what: `${what}, which is no Service and no ServiceEntry`,
    fix: fixFor(host, domain),
    evidence: [
      ofService === undefined
        ? { absent: "ServiceEntry", namespace: "", name: undefined }
        : { absent: "Service", namespace: ofService, name: host.split(".")[0], isJoined: true },
    ],
    namespace: ofService,
    isTried: false,
  };
}

/**
 * Why the port of what is called is of no use: nothing has it, or it is called by gRPC and is for another protocol than HTTP/2, for which
 * proxies use HTTP/1.1 (Istio pilot/pkg/networking/core/cluster_builder.go setUpstreamProtocol). Undefined: it may be of use.
 */
function unusablePort(
  { service, port, isGrpc }: Called,
  { definitions }: Found,
  isUpgraded: boolean,
): LostService | undefined {
  const isOpen = definitions.some((one) => one.kind === "Service" && isExternalName(one));
  if (port === undefined || definitions.length === 0 || isOpen) return undefined;
  const transports = definitions.flatMap((one) => transportOf(one, port) ?? []);
  const [what, rest] = [JSON.stringify(service), { evidence: definitions, namespace: undefined, isTried: true }];
  if (transports.length === 0)
    return {
      ...rest,
      what: `port ${port} of ${what}, which has no such port`,
      fix: "Set `port` of the provider to a port of the Service, which is not the port of its pods.",
    };
  if (!isGrpc || isUpgraded || !transports.every((one) => one === "other")) return undefined;
  return {
    ...rest,
    what: `port ${port} of ${what} by gRPC, and the port is declared for another protocol than HTTP/2`,
    fix: 'Begin the name of the port with "grpc", or set its appProtocol to grpc.',
  };
}

type Transport = "http2" | "other" | "undeclared";

/** How proxies talk to a port; undefined: there is none of this number. */
function transportOf(definition: Definition, number: number): Transport | undefined {
  if (definition.kind === "Service") {
    const port = portByNumber(definition, number);
    return port && (isHttp2Port(port) ? "http2" : asTransport(declaredProtocol(port)));
  }
  const port = definition.spec.ports.find((one) => one.number === number);
  return port && (isHttp2(port.protocol ?? "") ? "http2" : asTransport(parsedProtocol(port.protocol ?? "")));
}
const asTransport = (declared: DeclaredProtocol): Transport => (declared === "undeclared" ? declared : "other");

function fixFor(host: string, domain: string): string {
  const [name = "", second, ...more] = host.split(".");
  return more.length === 0 || more.join(".") === "svc"
    ? `Write the whole host, because istiod completes no names here: "${name}.${second ?? "<namespace>"}.svc.${domain}".`
    : "Correct `service` of the provider, or create the Service or ServiceEntry first.";
}

/** The namespaces of which the view has a Service, of those that providers call. */
const namespacesNearProviders = fact(
  "namespacesNearProviders",
  "MeshConfig",
  [servicesNearProviders],
  (config, mesh): ReadonlySet<string> =>
    new Set(mesh.related(servicesNearProviders, config).map(({ metadata }) => metadata.namespace)),
);
/** They decide what is a guess, not about whether there is a problem. */
const knownNearProviders = forWording(namespacesNearProviders);

export const providerServiceReads = [providerTargets, knownNearProviders] as const;

/** An extension provider and the mesh config that defines it. */
export interface DefinedProvider {
  readonly config: MeshConfig;
  readonly provider: Provider;
}

/** The proxies of a namespace that call a provider. */
export interface CallingProxies {
  readonly namespace: string;
  /** The Sidecar that all of them use. */
  readonly sidecar?: Sidecar | undefined;
}

/**
 * Why what providers call is not reached by the proxies of a namespace; undefined: some of it is, or not all Services and ServiceEntries
 * are known. Mesh configs of several revisions can define one provider. `client`: undefined if these proxies may be in any namespace.
 */
export function lostServiceOf(
  defined: readonly DefinedProvider[],
  mesh: MeshView<(typeof providerServiceReads)[number]>,
  client: CallingProxies | undefined,
): (LostService & { readonly guess: string | undefined }) | undefined {
  if (!isRegistryComplete(mesh)) return undefined;
  const all = defined.map((one) => lostBy(one, mesh, client));
  const [first] = all;
  return all.includes(undefined) ? undefined : first;
}

function lostBy(
  { config, provider }: DefinedProvider,
  mesh: MeshView<(typeof providerServiceReads)[number]>,
  client: CallingProxies | undefined,
): ReturnType<typeof lostServiceOf> {
  const called = calledBy(provider);
  const target = called && mesh.get(providerTargets, config).get(keyOf(called));
  if (called === undefined || target === undefined) return undefined;
  const lost = isLost(target) ? target : hiddenFrom(client, called, target.definitions, mesh.settings);
  if (lost === undefined) return undefined;
  const isNear = lost.namespace === undefined || mesh.get(knownNearProviders, config).has(lost.namespace);
  return { ...lost, guess: isNear ? undefined : `the Services of namespace ${lost.namespace}` };
}

/** Proxies have clusters for what their namespace sees, and sidecars for what their Sidecar imports of that (Istio pilot/pkg/networking/core/cluster.go BuildClusters, pilot/pkg/model/push_context.go servicesExportedToNamespace). */
function hiddenFrom(
  client: CallingProxies | undefined,
  { service, port }: Called,
  definitions: readonly Definition[],
  settings: MeshSettings,
): LostService | undefined {
  if (definitions.length === 0 || client === undefined) return undefined;
  const seen = definitions.filter((one) => includesNamespace(serviceVisibleTo(one, settings), client.namespace));
  if (seen.length > 0) return notImported(client, { service, port }, seen);
  return {
    what: `${JSON.stringify(service)}, which is not exported to namespace ${client.namespace}`,
    fix: "Export the Service to the namespaces whose proxies call it.",
    evidence: definitions,
    namespace: undefined,
    isTried: true,
  };
}

/** VirtualServices that lead sidecars to the host all the same are not asked for. */
function notImported(
  { sidecar }: CallingProxies,
  { service, port }: Pick<Called, "service" | "port">,
  definitions: readonly Definition[],
): LostService | undefined {
  if (sidecar === undefined) return undefined;
  const { host } = partsOfService(service);
  const egress = new Egress(sidecar);
  if (definitions.some(({ metadata }) => egress.importsService(host, metadata.namespace, port))) return undefined;
  const { namespace, name } = sidecar.metadata;
  return {
    what: `${JSON.stringify(service)}, which Sidecar ${namespace}/${name} does not import`,
    fix: `Add the host to \`egress.hosts\` of the Sidecar: "${definitions[0]?.metadata.namespace}/${host}".`,
    evidence: [...definitions, sidecar],
    namespace: undefined,
    isTried: true,
  };
}
