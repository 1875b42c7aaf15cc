import type { ProxyConfigFields } from "../../kube/proxy-config.ts";

/**
 * Environment variables with which a proxy obeys another control plane, trusts another certificate authority, claims
 * another identity or captures less (Istio pkg/bootstrap/config.go, security/pkg/nodeagent/cache, pkg/model/proxy.go
 * NodeMetadata).
 */
export const decisiveVariables =
  /^(PROXY_CONFIG|CA_ADDR|CA_PROVIDER|CA_ROOT_CA|XDS_ROOT_CA|PROV_CERT|TRUST_DOMAIN|ISTIO_BOOTSTRAP(_OVERRIDE)?|ISTIO_META_(INTERCEPTION_MODE|TLS_\w+|SERVICE_ACCOUNT|NAMESPACE))$/;

const decisiveFields = [
  ["customConfigFile", "the bootstrap configuration"],
  ["proxyBootstrapTemplatePath", "the bootstrap template"],
  ["discoveryAddress", "the control plane"],
  ["binaryPath", "the binary"],
] as const satisfies readonly (readonly [keyof ProxyConfigFields, string])[];

/** A field of a proxy config with which a proxy no longer does what the mesh makes it do, and what the field does. */
export interface DecisiveField {
  /** `discoveryAddress`, `proxyMetadata.CA_ADDR` */
  readonly field: string;
  /** A predicate: "chooses the control plane of its proxy". */
  readonly effect: string;
}

/** The fields of a proxy config with which somebody else decides what a proxy does. */
export function* decisiveProxyConfig(config: ProxyConfigFields | undefined): Iterable<DecisiveField> {
  if (config === undefined) return;
  for (const [field, what] of decisiveFields)
    if ((config[field] ?? "") !== "") yield { field, effect: `chooses ${what} of its proxy` };
  if (config.caCertificatesPem !== "" && config.caCertificatesPem !== "[]")
    yield { field: "caCertificatesPem", effect: "lets its proxy trust other certificate authorities" };
  if (config.controlPlaneAuthPolicy === "NONE")
    yield { field: "controlPlaneAuthPolicy", effect: "lets its proxy accept an unauthenticated control plane" };
  for (const variable of Object.keys(config.proxyMetadata))
    if (decisiveVariables.test(variable))
      yield { field: `proxyMetadata.${variable}`, effect: "changes the identity of its proxy" };
}
