/**
 * Environment variables with which a proxy obeys another control plane, trusts another certificate authority, claims
 * another identity or captures less (Istio pkg/bootstrap/config.go, security/pkg/nodeagent/cache, pkg/model/proxy.go
 * NodeMetadata).
 */
export const decisiveVariables =
  /^(PROXY_CONFIG|CA_ADDR|CA_PROVIDER|CA_ROOT_CA|XDS_ROOT_CA|PROV_CERT|TRUST_DOMAIN|ISTIO_BOOTSTRAP(_OVERRIDE)?|ISTIO_META_(INTERCEPTION_MODE|TLS_\w+|SERVICE_ACCOUNT|NAMESPACE))$/;
