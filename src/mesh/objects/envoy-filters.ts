import { Candidates, isOneEdit } from "../../text/nearest.ts";

/** The canonical names of the filters that Istio creates, by their old ones (Istio pkg/config/xds/deprecated.go). */
export const canonicalNames: ReadonlyMap<string, string> = new Map([
  ["envoy.http_connection_manager", "envoy.filters.network.http_connection_manager"],
  ["envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"],
  ["envoy.router", "envoy.filters.http.router"],
  ["envoy.cors", "envoy.filters.http.cors"],
  ["envoy.fault", "envoy.filters.http.fault"],
  ["envoy.grpc_web", "envoy.filters.http.grpc_web"],
  ["envoy.listener.http_inspector", "envoy.filters.listener.http_inspector"],
  ["envoy.listener.original_dst", "envoy.filters.listener.original_dst"],
  ["envoy.listener.original_src", "envoy.filters.listener.original_src"],
  ["envoy.listener.proxy_protocol", "envoy.filters.listener.proxy_protocol"],
  ["envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"],
]);

/** Others that Istio creates (Istio pilot/pkg/xds/filters/filters.go, pilot/pkg/security/authz/model, pilot/pkg/security/authn). */
const others = ["ext_authz", "grpc_stats", "jwt_authn", "rbac", "stateful_session"].map(
  (name) => `envoy.filters.http.${name}`,
);
const created: ReadonlySet<string> = new Set([...canonicalNames.values(), ...others]);
const candidates = new Candidates(created);

/**
 * The filter of Istio that a name probably means: one letter is wrong, missing or too many, or two are swapped. No two filters of Envoy
 * are as near to each other as that, but a second one of a kind may continue the name of the first: `envoy.filters.http.ext_authz2`.
 */
export function filterMeant(name: string): string | undefined {
  const meant = created.has(name) ? undefined : candidates.nearest(name);
  return meant !== undefined && isOneEdit(name, meant) && !name.startsWith(meant) ? meant : undefined;
}
