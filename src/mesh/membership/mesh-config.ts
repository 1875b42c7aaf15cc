import type { MeshConfigFields } from "../../kube/mesh-config.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import { actionOnSlashes, pathsOf } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

export type MeshConfig = ObjectOf<"MeshConfig">;
export type ExtensionProvider = MeshConfigFields["extensionProviders"][number];

const ofTheMesh = "mesh";

/** A Namespace and the MeshConfigs of all control planes. */
export const meshConfigsOfNamespace = relation(
  "meshConfigsOfNamespace",
  index("Namespace", () => [ofTheMesh]),
  index("MeshConfig", () => [ofTheMesh]),
);

/** Istio's default for `trustDomain` (Istio pkg/config/mesh/mesh.go DefaultMeshConfig). */
const defaultTrustDomain = "cluster.local";
export const trustDomainOf = ({ trustDomain }: MeshConfigFields): string => trustDomain || defaultTrustDomain;

/** The trust domains whose identities count as identities of the mesh (Istio pilot/pkg/security/trustdomain/bundle.go). */
export const ownTrustDomains = (fields: MeshConfigFields): ReadonlySet<string> =>
  new Set([trustDomainOf(fields), ...fields.trustDomainAliases]);

/**
 * The trust domains whose certificates workloads accept over mTLS: also those of additional certificate authorities
 * (Istio pilot/pkg/networking/plugin/authn/util.go TrustDomainsForValidation).
 */
export const acceptedTrustDomains = (fields: MeshConfigFields): ReadonlySet<string> =>
  new Set([...ownTrustDomains(fields), ...fields.caCertificates.flatMap(({ trustDomains }) => trustDomains)]);

/** How a proxy normalizes a path before it compares it (istio.io/api mesh/v1alpha1 ProxyPathNormalization, ConnectionSettings). */
export function normalizationOf({ pathNormalization, defaultConfig }: MeshConfigFields): string {
  const written = pathNormalization?.normalization ?? "DEFAULT";
  const { httpMergeSlashes, httpPathWithEscapedSlashesAction: action } = defaultConfig?.connectionSettings ?? {};
  const instead = [
    ...(httpMergeSlashes === undefined ? [] : [`httpMergeSlashes ${httpMergeSlashes}`]),
    ...(actionOnSlashes(action) === undefined ? [] : [`httpPathWithEscapedSlashesAction ${action}`]),
  ];
  const name = written === "DEFAULT" ? "BASE" : written;
  return instead.length === 0 ? name : `${name} with ${instead.join(" and ")}`;
}

const isNormalizing = ({ pathNormalization }: MeshConfigFields): boolean => pathNormalization?.normalization !== "NONE";

export function normalizesLess(before: MeshConfigFields, after: MeshConfigFields): boolean {
  const [old, now] = [pathsOf(before), pathsOf(after)];
  return (
    (isNormalizing(before) && !isNormalizing(after)) ||
    (old.mergesSlashes && !now.mergesSlashes) ||
    (old.decodesSlashes && !now.decodesSlashes)
  );
}

/** The certificate authorities that a mesh config adds, as texts that identify them. */
export const addedAuthorities = (fields: MeshConfigFields): ReadonlySet<string> =>
  new Set(fields.caCertificates.map(({ pem, spiffeBundleUrl }) => spiffeBundleUrl ?? (pem ?? "").trim()));

const byName = new KeptIn<MeshConfigFields, ReadonlyMap<string, ExtensionProvider>>();

/** The extension providers by name: of several with one name, istiod keeps the last (Istio pkg/config/mesh/mesh.go ApplyMeshConfig). */
export function providersOf(fields: MeshConfigFields): ReadonlyMap<string, ExtensionProvider> {
  let found = byName.get(fields);
  if (found === undefined) {
    found = new Map(fields.extensionProviders.map((provider) => [provider.name, provider]));
    byName.set(fields, found);
  }
  return found;
}

/** An extension provider that decides about requests for AuthorizationPolicies with action CUSTOM. */
export interface AuthorizationProvider {
  /** The service that is called, with port and path, as it is written. */
  readonly calls: string;
  /** The same without the namespace, which the name of Envoy's cluster does not have (pilot/pkg/model/telemetry_logging.go LookupCluster). */
  readonly cluster: string;
  /** Whether requests pass if the service does not answer. */
  readonly failsOpen: boolean;
  /** The headers of its answer that replace those of the request, in lower case. */
  readonly writes: ReadonlySet<string>;
  /** What it is shown of a request: `header "x-user"`, `the body`. */
  readonly sees: ReadonlySet<string>;
  /** Over gRPC, a provider gets every header (pilot/pkg/security/authz/builder/extauthz.go generateGRPCConfig). */
  readonly seesAllHeaders: boolean;
}
export function authorizationProvidersOf(fields: MeshConfigFields): ReadonlyMap<string, AuthorizationProvider> {
  return new Map(
    [...providersOf(fields)].flatMap(([name, provider]) => {
      const found = authorizationProviderOf(provider);
      return found === undefined ? [] : [[name, found] as const];
    }),
  );
}

function authorizationProviderOf(provider: ExtensionProvider): AuthorizationProvider | undefined {
  const http = provider.envoyExtAuthzHttp;
  const called = http ?? provider.envoyExtAuthzGrpc;
  if (called === undefined) return undefined;
  const { service = "", port, failOpen = false } = called;
  const shown = http === undefined ? [] : [...http.includeRequestHeadersInCheck, ...http.includeHeadersInCheck];
  const body = called.includeRequestBodyInCheck === "" ? [] : ["the body"];
  const address = `:${port.replaceAll('"', "")}${http?.pathPrefix ?? ""}`;
  return {
    calls: `${service}${address}`,
    cluster: `${partsOfService(service).host}${address}`,
    failsOpen: failOpen,
    writes: new Set(http?.headersToUpstreamOnAllow.map((header) => header.toLowerCase())),
    sees: new Set([...shown.map((header) => `header ${JSON.stringify(header.toLowerCase())}`), ...body]),
    seesAllHeaders: http === undefined,
  };
}

/** The host of the `service` of a provider and, if it is written, the namespace. Of more than two parts, all are the host. */
export function partsOfService(service: string): { readonly host: string; readonly namespace: string | undefined } {
  const [first = "", second, ...more] = service.split("/");
  return second === undefined || more.length > 0
    ? { host: service, namespace: undefined }
    : { host: second, namespace: first };
}
