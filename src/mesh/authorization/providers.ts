import { fact, index, relation } from "../../view/view.ts";
import { type ExtensionProvider, providersOf } from "../membership/mesh-config.ts";
import { isAddress } from "../objects/ip-address.ts";
import { isServed } from "../objects/revision.ts";
import { isDomain, isLabel, isWildcardDomain } from "../traffic/host-syntax.ts";
import { actionOf } from "./policies.ts";

const everyMesh = "mesh";

/** A policy that asks a provider, and every mesh config. */
export const meshConfigsOfProvider = relation(
  "meshConfigsOfProvider",
  index("AuthorizationPolicy", (policy, settings) =>
    actionOf(policy) === "CUSTOM" && isServed(policy, settings) ? [everyMesh] : [],
  ),
  index("MeshConfig", () => [everyMesh]),
);

/** How a provider is called for policies; undefined: it is not for authorization. */
const calledFor = ({ envoyExtAuthzHttp, envoyExtAuthzGrpc }: ExtensionProvider) =>
  envoyExtAuthzHttp ?? envoyExtAuthzGrpc;
export const isForAuthorization = (provider: ExtensionProvider): boolean => calledFor(provider) !== undefined;

/** Whether a provider has no filter for connections, so that it is asked about requests alone (builder.go buildTCP). */
export const isAskedOverHttp = ({ envoyExtAuthzHttp, envoyExtAuthzGrpc }: ExtensionProvider): boolean =>
  envoyExtAuthzHttp !== undefined && envoyExtAuthzGrpc === undefined;

/**
 * What keeps istiod from using a provider for policies, in words that follow its name; undefined: nothing that is in its own fields.
 * Requests that the rules match are denied then (Istio pilot/pkg/security/authz/builder/extauthz.go validateProviderName, buildExtAuthzHTTP).
 */
export function faultOf(provider: ExtensionProvider): string | undefined {
  const { name, envoyExtAuthzHttp } = provider;
  if (name.length > longestName) return `has a name of more than ${longestName} characters`;
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name))
    return "has a name with something other than lowercase letters, digits, and hyphens between them";
  const field = envoyExtAuthzHttp && headerFields.find((one) => envoyExtAuthzHttp[one].includes("*"));
  return field === undefined ? undefined : `has "*" in ${field}, which is neither a prefix nor a suffix`;
}
const longestName = 63;
const headerFields = [
  "includeRequestHeadersInCheck",
  "includeHeadersInCheck",
  "headersToDownstreamOnDeny",
  "headersToDownstreamOnAllow",
  "headersToUpstreamOnAllow",
] as const;

/**
 * What makes istiod refuse the whole mesh config that defines a provider for authorization, in words that follow its name (Istio
 * pkg/config/validation/agent/extensionprovider.go ValidateExtensionProviderEnvoyExtAuthzHTTP, ValidateExtensionProviderEnvoyExtAuthzGRPC).
 */
export function refusalOf(provider: ExtensionProvider): string | undefined {
  const called = calledFor(provider);
  if (called === undefined) return undefined;
  const port = Number(called.port.replaceAll('"', "") || 0);
  if (!(port >= 1 && port <= 65_535)) return "has no port from 1 to 65535";
  return serviceRefusal(called) ?? statusRefusal(called) ?? prefixRefusal(provider);
}

type Called = NonNullable<ReturnType<typeof calledFor>>;

function serviceRefusal({ service = "" }: Called): string | undefined {
  if (service === "") return "has no service";
  return isService(service)
    ? undefined
    : `has service ${JSON.stringify(service)}, which is neither a host nor a namespace and a host`;
}

const statusRefusal = ({ statusOnError: status = "" }: Called): string | undefined =>
  isStatus(status)
    ? undefined
    : `has statusOnError ${JSON.stringify(status)}, which is no status code that Envoy knows`;

function prefixRefusal({ envoyExtAuthzHttp }: ExtensionProvider): string | undefined {
  const prefix = envoyExtAuthzHttp?.pathPrefix ?? "";
  return prefix === "" || prefix.startsWith("/")
    ? undefined
    : `has pathPrefix ${JSON.stringify(prefix)}, which does not begin with "/"`;
}

/**
 * `host`, an address, or `namespace/host`, whose host has a dot (pkg/config/validation/agent/extensionprovider.go
 * validateExtensionProviderService, pkg/config/validation/agent/validation.go ValidateNamespaceSlashWildcardHostname).
 */
function isService(service: string): boolean {
  const slash = service.indexOf("/");
  if (slash < 0) return isDomain(service) || isAddress(service);
  const [namespace, host] = [service.slice(0, slash), service.slice(slash + 1)];
  const isNamespace = /^~?[*.]?$/.test(namespace) || isLabel(namespace.replace(/^~/, ""));
  return namespace !== "" && isNamespace && (host === "*" || (host.includes(".") && isWholeWildcard(host)));
}
const isWholeWildcard = (host: string): boolean =>
  isWildcardDomain(host) && (!host.includes("*") || host.startsWith("*."));

/** The status codes of Envoy (envoy/type/v3/http_status.proto StatusCode), in the digits that Go's strconv.ParseInt reads. */
const isStatus = (text: string): boolean => text === "" || (/^[-+]?\d+$/.test(text) && statusCodes.has(Number(text)));
const statusCodes: ReadonlySet<number> = new Set([
  ...[0, 100, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308],
  ...[400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424],
  ...[426, 428, 429, 431, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511],
]);

/** What is known of the provider of a CUSTOM policy. */
export interface ProviderUse {
  /** It is asked about requests, and not about connections. */
  readonly isOfRequestsAlone: boolean;
  /** Why istiod denies what it would be asked about; undefined: it is asked, or that is not known. */
  readonly because: string | undefined;
}
const unknownUse: ProviderUse = { isOfRequestsAlone: false, because: undefined };

/** By the mesh configs of all control planes, of which none can have another answer. Whether its service exists is not asked. */
export const providerUse = fact(
  "providerUse",
  "AuthorizationPolicy",
  [meshConfigsOfProvider],
  (policy, mesh): ProviderUse => {
    const configs = mesh.related(meshConfigsOfProvider, policy);
    // What a mesh config defines that istiod cannot read is not known.
    if (configs.length === 0 || configs.some(({ malformed }) => malformed !== undefined)) return unknownUse;
    const name = policy.spec.provider?.name ?? "";
    const found = configs.map((config) => providersOf(config.mesh).get(name));
    const reasons = found.map((provider) => reasonOf(provider, name));
    return {
      isOfRequestsAlone: found.every(
        (provider, i) => provider !== undefined && reasons[i] === undefined && isAskedOverHttp(provider),
      ),
      because: reasons.every((reason) => reason !== undefined) ? reasons[0] : undefined,
    };
  },
);

function reasonOf(provider: ExtensionProvider | undefined, name: string): string | undefined {
  if (provider === undefined) return `the mesh config has no extension provider ${JSON.stringify(name)}`;
  if (!isForAuthorization(provider)) return `extension provider ${JSON.stringify(name)} is not for authorization`;
  const fault = faultOf(provider);
  return fault && `extension provider ${JSON.stringify(name)} ${fault}`;
}
