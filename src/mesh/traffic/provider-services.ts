import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";
import type { MeshConfig } from "../membership/mesh-config.ts";
import { serviceByNamespace } from "../objects/indexes.ts";
import { type Definition, entryByHost, serviceByHost } from "./definition-choice.ts";
import { gatewayByGeneratedHost } from "./generated-services.ts";
import { hostOfService, namespaceOfHost } from "./hosts.ts";
import { isRegistryComplete } from "./registry.ts";

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

/** The `service` of an extension provider: `host` or `namespace/host`; undefined: the provider calls none. */
function serviceCalledBy(provider: Provider): string | undefined {
  for (const field of [...forAuthorization, ...forTelemetry]) {
    const service = provider[field]?.service;
    if (service) return service;
  }
  return undefined;
}

/** The host and, if it is written, the namespace. Of more than two parts, all are the host. */
function partsOf(service: string): { readonly host: string; readonly namespace: string | undefined } {
  const [first = "", second, ...more] = service.split("/");
  return second === undefined || more.length > 0
    ? { host: service, namespace: undefined }
    : { host: second, namespace: first };
}

const hostsCalled = ({ mesh }: MeshConfig): ReadonlySet<string> =>
  new Set(
    mesh.extensionProviders.flatMap((provider) => {
      const service = serviceCalledBy(provider);
      return service === undefined ? [] : [partsOf(service).host];
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

/** Why istiod does not find the service of a provider. */
interface LostService {
  /** The service as it is written, and the reason. */
  readonly what: string;
  readonly fix: string;
  /** The Service, or else the ServiceEntry, that is missing. */
  readonly evidence: readonly Missing[];
  /** The namespace that would have the Service; undefined: the host has not the form of a Service's, or some exist. */
  readonly namespace: string | undefined;
}
interface Missing {
  readonly absent: "Service" | "ServiceEntry";
  readonly namespace: string;
  readonly name: string | undefined;
}

/**
 * The services of extension providers that istiod does not find, under the values of `service`. It compares whole hosts and
 * completes no names; without a namespace, exactly one namespace must have the host (Istio
 * pilot/pkg/model/telemetry_logging.go LookupCluster).
 */
const lostServices = fact(
  "lostServices",
  "MeshConfig",
  [servicesOfProviders, entriesOfProviders, gatewaysGeneratingForProviders],
  (config, mesh): ReadonlyMap<string, LostService> => {
    const { domain } = mesh.settings;
    const namespacesOf = new Map<string, Set<string>>();
    const add = (host: string, { metadata }: Definition) =>
      namespacesOf.set(host, (namespacesOf.get(host) ?? new Set()).add(metadata.namespace));
    for (const service of mesh.related(servicesOfProviders, config)) add(hostOfService(service, domain), service);
    for (const entry of mesh.related(entriesOfProviders, config)) for (const host of entry.spec.hosts) add(host, entry);
    const isGenerated = (host: string) =>
      !namespacesOf.has(host) && mesh.hasUnder(gatewaysGeneratingForProviders, host);
    const lost = new Map<string, LostService>();
    for (const service of new Set(config.mesh.extensionProviders.flatMap((one) => serviceCalledBy(one) ?? []))) {
      const found = isGenerated(partsOf(service).host) ? undefined : lostService(service, namespacesOf, domain);
      if (found !== undefined) lost.set(service, found);
    }
    return lost;
  },
);

function lostService(
  service: string,
  namespacesOf: ReadonlyMap<string, ReadonlySet<string>>,
  domain: string,
): LostService | undefined {
  const { host, namespace } = partsOf(service);
  const what = JSON.stringify(service);
  // Hosts of a cluster set may be in another cluster.
  if (host.endsWith(".svc.clusterset.local")) return undefined;
  const there = namespacesOf.get(host) ?? new Set();
  if (namespace === undefined ? there.size === 1 : there.has(namespace)) return undefined;
  const [some] = [...there].sort();
  if (some !== undefined)
    return {
      what: `${what}, which ${namespace === undefined ? "several namespaces define" : "is in another namespace"}`,
      fix: `Set \`service\` of the provider to the namespace and the host, such as "${some}/${host}".`,
      evidence: [],
      namespace: undefined,
    };
  const ofService = namespaceOfHost(host, domain);
  return {
    what: `${what}, which is no Service and no ServiceEntry`,
    fix: fixFor(host, domain),
    evidence: [
      ofService === undefined
        ? { absent: "ServiceEntry", namespace: "", name: undefined }
        : { absent: "Service", namespace: ofService, name: host.split(".")[0] },
    ],
    namespace: ofService,
  };
}

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

export const providerServiceReads = [lostServices, knownNearProviders] as const;

/** An extension provider and the mesh config that defines it. */
export interface DefinedProvider {
  readonly config: MeshConfig;
  readonly provider: Provider;
}

/**
 * Why the services of providers are not found; undefined: some of them are, or not all Services and ServiceEntries are
 * known. Mesh configs of several revisions can define one provider.
 */
export function lostServiceOf(
  defined: readonly DefinedProvider[],
  mesh: MeshView<(typeof providerServiceReads)[number]>,
): (LostService & { readonly guess: string | undefined }) | undefined {
  if (!isRegistryComplete(mesh)) return undefined;
  let first: ReturnType<typeof lostServiceOf>;
  for (const { config, provider } of defined) {
    const service = serviceCalledBy(provider);
    const lost = service === undefined ? undefined : mesh.get(lostServices, config).get(service);
    if (lost === undefined) return undefined;
    const isNear = lost.namespace === undefined || mesh.get(knownNearProviders, config).has(lost.namespace);
    first ??= { ...lost, guess: isNear ? undefined : `the Services of namespace ${lost.namespace}` };
  }
  return first;
}
