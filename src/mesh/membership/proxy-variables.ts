import type { ProxyConfigFields } from "../../kube/proxy-config.ts";

const toIdentity = "changes the identity of its proxy";
const toAuthority = "chooses whom its proxy trusts";

/**
 * Environment variables with which a proxy obeys another control plane, trusts another certificate authority, claims to be
 * another one, or captures less, and what they do (Istio pilot/cmd/pilot-agent/options/options.go and
 * pilot/cmd/pilot-agent/config/config.go, pkg/bootstrap/config.go, security/pkg/nodeagent/cache). istiod finds the pod of a
 * proxy by the name that the proxy says (pilot/pkg/serviceregistry/kube/controller/pod.go getPodByProxy), and adds the labels
 * of the node metadata to those of the pod (pilot/pkg/model/context.go SetWorkloadLabels).
 */
const decisiveVariables: readonly (readonly [RegExp, string])[] = [
  [
    /^(PROXY_CONFIG|CA_ADDR|CA_PROVIDER|CA_ROOT_CA|XDS_ROOT_CA|PROV_CERT|TRUST_DOMAIN|ISTIO_BOOTSTRAP(_OVERRIDE)?|ISTIO_META_(INTERCEPTION_MODE|TLS_\w+|SERVICE_ACCOUNT|NAMESPACE)|POD_NAME(SPACE)?|SERVICE_ACCOUNT|ISTIO_METAJSON_LABELS)$/,
    toIdentity,
  ],
  [
    /^(ISTIOD_SAN|XDS_AUTH_(PROVIDER|PLAINTEXT)|FILE_MOUNTED_CERTS|CREDENTIAL_(FETCHER_TYPE|IDENTITY_PROVIDER)|WORKLOAD_IDENTITY_SOCKET_FILE)$/,
    toAuthority,
  ],
  [
    /^HTTP_STRIP_FRAGMENT_FROM_PATH_UNSAFE_IF_DISABLED$/,
    "lets its proxy compare other paths than the application reads",
  ],
  [/^DISABLE_ENVOY$/, "runs no proxy"],
  [/^IPTABLES_TRACE_LOGGING$/, "makes its proxy privileged"],
];

/** Metadata in JSON, of which the name of the variable is ignored (pkg/bootstrap/config.go GetNodeMetaData). */
const metadataInJson = /^ISTIO_METAJSON_/;
const decisiveMetadata = /\\?"(LABELS|NAMESPACE|SERVICE_ACCOUNT|INTERCEPTION_MODE|TLS_\w+)\\?"\s*:/;

/** What a variable of a proxy decides, as a predicate. Undefined if it decides nothing that policies or mTLS rest on. */
export function effectOfVariable(name: string, value = ""): string | undefined {
  if (metadataInJson.test(name) && decisiveMetadata.test(value)) return toIdentity;
  return decisiveVariables.find(([names]) => names.test(name))?.[1];
}

/**
 * Whether a variable ends the line of the template that it is put into, so that it sets other fields of the proxy: the
 * template quotes names and values, and escapes nothing (files/injection-template.yaml, `range .ProxyConfig.ProxyMetadata`).
 */
const leavesItsLine = (name: string, value: string): boolean =>
  !/^[\w.-]*$/.test(name) || /(?<!\\)(\\\\)*"/.test(value);

/** A value of proxyMetadata as text; the field keeps it in JSON. */
const textOf = (json: string): string => String(JSON.parse(json || '""'));

/** Whether a runtime flag of Envoy decides how paths are read and compared. */
export const decidesPaths = (flag: string): boolean => /path|fragment|uhv/i.test(flag);

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
  for (const flag of Object.keys(config.runtimeValues))
    if (decidesPaths(flag))
      yield { field: `runtimeValues.${flag}`, effect: "lets its proxy compare other paths than the application reads" };
  yield* decisiveMetadataOf(config);
}

function* decisiveMetadataOf({ proxyMetadata }: ProxyConfigFields): Iterable<DecisiveField> {
  for (const [variable, json] of Object.entries(proxyMetadata)) {
    const value = textOf(json);
    const effect = leavesItsLine(variable, value)
      ? "sets other fields of its proxy through the template"
      : effectOfVariable(variable, value);
    if (effect !== undefined) yield { field: `proxyMetadata.${variable}`, effect };
  }
}
