import { connectionPool, outlierDetection } from "./circuit-breaking.ts";
import {
  duration,
  fingerprint,
  flag,
  int32,
  uint32,
  intOrText,
  isObject,
  list,
  map,
  mapByPort,
  name,
  number,
  optional,
  type Read,
  record,
  text,
  type Value,
  withProtobufNames,
} from "./read.ts";

// The fields that are read of each kind, with the names in the types of Istio and Kubernetes. Other fields are not
// kept.

const selector = optional(record({ matchLabels: optional(map(text)) }));
const labelSelector = record({
  matchLabels: map(text),
  matchExpressions: list(record({ key: name, operator: name, values: list(name) })),
});
const targetRef = record({ group: name, kind: name, name, namespace: text });
const port = optional(record({ number: uint32 }));
const destination = record({ host: name, subset: text, port });
const headerChanges = optional(record({ set: map(text), add: map(text), remove: list(name) }));
const headers = optional(record({ request: headerChanges, response: headerChanges }));
const weighted = record({ destination, weight: int32 });
const stringMatch = optional(record({ exact: text, prefix: text, regex: text }));
const httpMatch = record({
  name: text,
  uri: stringMatch,
  method: stringMatch,
  authority: stringMatch,
  scheme: stringMatch,
  headers: map(stringMatch),
  withoutHeaders: map(stringMatch),
  queryParams: map(stringMatch),
  port: uint32,
  sourceLabels: map(text),
  sourceNamespace: text,
  gateways: list(name),
  ignoreUriCase: flag,
});
const percentage = optional(record({ value: number }));
const fault = record({
  abort: optional(record({ percentage, httpStatus: int32, grpcStatus: text })),
  delay: optional(record({ percentage, percent: int32, fixedDelay: duration })),
});
const redirect = record({
  uri: text,
  prefixRewrite: text,
  authority: text,
  scheme: text,
  port: uint32,
  derivePort: intOrText,
  redirectCode: uint32,
});
const rewrite = record({
  uri: text,
  authority: text,
  uriRegexRewrite: optional(record({ match: text, rewrite: text })),
});
const httpRoute = withProtobufNames(
  { mirror_percent: "mirrorPercent" },
  record({
    name: text,
    match: list(httpMatch),
    route: list(record({ destination, weight: int32, headers })),
    redirect: optional(redirect),
    directResponse: optional(record({ status: uint32 })),
    delegate: optional(record({ name, namespace: text })),
    rewrite: optional(rewrite),
    headers,
    fault: optional(fault),
    mirror: optional(destination),
    mirrors: list(record({ destination, percentage })),
    mirrorPercent: uint32,
    mirrorPercentage: percentage,
    timeout: duration,
    retries: optional(record({ attempts: int32, perTryTimeout: duration, retryOn: text })),
    corsPolicy: optional(record({})),
  }),
);
const streamMatch = record({
  destinationSubnets: list(name),
  port: uint32,
  sourceLabels: map(text),
  sourceNamespace: text,
  gateways: list(name),
});
const tcpRoute = record({ match: list(streamMatch), route: list(weighted) });
const tlsMatch = record({
  sniHosts: list(name),
  destinationSubnets: list(name),
  port: uint32,
  sourceLabels: map(text),
  sourceNamespace: text,
  gateways: list(name),
});
const tlsRoute = record({ match: list(tlsMatch), route: list(weighted) });

const present = optional(record({}));
const loadBalancer = optional(
  record({
    simple: text,
    consistentHash: optional(
      record({
        httpHeaderName: text,
        httpQueryParameterName: text,
        httpCookie: optional(record({ name: text })),
        useSourceIp: flag,
      }),
    ),
    localityLbSetting: optional(record({ enabled: flag, distribute: list(record({ from: text })) })),
    zoneAwareLbSetting: present,
  }),
);
const clientTls = optional(
  record({
    mode: text,
    credentialName: text,
    caCertificates: text,
    subjectAltNames: list(name),
    sni: text,
    insecureSkipVerify: flag,
  }),
);
const trafficPolicy = optional(
  record({
    tls: clientTls,
    portLevelSettings: list(record({ port, tls: clientTls, connectionPool, outlierDetection, loadBalancer })),
    connectionPool,
    outlierDetection,
    loadBalancer,
    proxyProtocol: optional(record({})),
  }),
);
const peerMtls = optional(record({ mode: text }));
const source = record({
  principals: list(name),
  notPrincipals: list(name),
  requestPrincipals: list(name),
  notRequestPrincipals: list(name),
  namespaces: list(name),
  notNamespaces: list(name),
  serviceAccounts: list(name),
  notServiceAccounts: list(name),
  trustDomains: list(name),
  notTrustDomains: list(name),
  ipBlocks: list(name),
  notIpBlocks: list(name),
  remoteIpBlocks: list(name),
  notRemoteIpBlocks: list(name),
});
const operation = record({
  hosts: list(name),
  notHosts: list(name),
  ports: list(name),
  notPorts: list(name),
  methods: list(name),
  notMethods: list(name),
  paths: list(name),
  notPaths: list(name),
});

const serviceCalled = optional(record({ namespace: name, name, port: int32 }));
const clientConfig = optional(record({ service: serviceCalled }));

export const virtualService = record({
  spec: record({
    hosts: list(name),
    gateways: list(name),
    exportTo: list(name),
    http: list(httpRoute),
    tcp: list(tcpRoute),
    tls: list(tlsRoute),
  }),
});

export const destinationRule = record({
  spec: record({
    host: name,
    exportTo: list(name),
    workloadSelector: selector,
    trafficPolicy,
    subsets: list(record({ name, labels: map(text), trafficPolicy })),
  }),
});

export const serviceEntry = record({
  spec: record({
    hosts: list(name),
    addresses: list(name),
    subjectAltNames: list(name),
    location: text,
    resolution: text,
    exportTo: list(name),
    ports: list(record({ number: uint32, name: text, protocol: text, targetPort: uint32 })),
    endpoints: list(record({ address: text, labels: map(text), serviceAccount: text, ports: map(uint32) })),
    workloadSelector: optional(record({ labels: map(text) })),
  }),
});

export const workloadEntry = record({
  spec: record({ address: text, labels: map(text), network: text, serviceAccount: text, ports: map(uint32) }),
});

export const workloadGroup = record({
  spec: record({
    metadata: record({ labels: map(text) }),
    template: record({ labels: map(text), serviceAccount: text }),
  }),
});

export const networkPolicy = record({
  spec: record({
    podSelector: labelSelector,
    policyTypes: list(name),
    ingress: list(record({ ports: list(record({ protocol: text, port: intOrText, endPort: int32 })) })),
  }),
});

export const sidecar = record({
  spec: record({
    workloadSelector: optional(record({ labels: map(text) })),
    ingress: list(
      record({
        port: optional(record({ number: uint32, name: text, protocol: text })),
        bind: text,
        captureMode: text,
        defaultEndpoint: text,
        tls: optional(record({ mode: text })),
      }),
    ),
    egress: list(record({ port: optional(record({ number: uint32, protocol: text })), hosts: list(name) })),
    outboundTrafficPolicy: optional(
      record({
        mode: text,
        egressProxy: optional(record({ host: name, subset: text, port: optional(record({ number: uint32 })) })),
      }),
    ),
  }),
});

export const gateway = record({
  spec: record({
    selector: map(text),
    servers: list(
      record({
        name: text,
        bind: text,
        hosts: list(name),
        port: optional(record({ number: uint32, name: text, protocol: text, targetPort: uint32 })),
        tls: optional(
          record({
            mode: text,
            httpsRedirect: flag,
            insecureSkipVerify: flag,
            minProtocolVersion: text,
            credentialName: text,
            credentialNames: list(name),
            serverCertificate: text,
            privateKey: text,
            caCertificates: text,
            caCertCredentialName: text,
            caCrl: text,
            subjectAltNames: list(name),
            verifyCertificateSpki: list(text),
            verifyCertificateHash: list(text),
            tlsCertificates: list(record({ serverCertificate: text, privateKey: text })),
          }),
        ),
      }),
    ),
  }),
});

const clientValidation = optional(
  record({
    validation: optional(
      record({ caCertificateRefs: list(record({ group: text, kind: text, name, namespace: text })), mode: text }),
    ),
  }),
);

const listeners = list(
  record({
    name,
    port: int32,
    protocol: text,
    hostname: text,
    tls: optional(
      record({
        mode: text,
        certificateRefs: list(record({ group: text, kind: text, namespace: text, name })),
        options: map(text),
      }),
    ),
    allowedRoutes: optional(
      record({
        namespaces: optional(record({ from: text, selector: optional(labelSelector) })),
        kinds: list(record({ group: text, kind: name })),
      }),
    ),
  }),
);

/** Only the first reference counts (Istio pilot/pkg/config/kube/gateway/backend_policies.go getBackendTLSCredentialName). */
export const backendTlsPolicy = record({
  spec: record({
    targetRefs: list(record({ group: text, kind: text, name, sectionName: optional(text) })),
    validation: record({
      hostname: name,
      wellKnownCACertificates: optional(text),
      caCertificateRefs: list(record({ group: text, kind: text, name })),
    }),
  }),
});

export const listenerSet = record({
  spec: record({
    parentRef: record({ group: text, kind: text, namespace: text, name }),
    listeners,
  }),
});

/** Which controller has the Gateways that name the class. */
export const gatewayClass = record({ spec: record({ controllerName: text }) });

export const kubernetesGateway = record({
  spec: record({
    gatewayClassName: name,
    addresses: list(record({ type: text, value: name })),
    infrastructure: optional(
      record({
        labels: optional(map(text)),
        annotations: optional(map(text)),
        parametersRef: optional(record({ group: text, kind: text, name })),
      }),
    ),
    tls: optional(
      record({
        frontend: optional(
          record({ default: clientValidation, perPort: list(record({ port: int32, tls: clientValidation })) }),
        ),
      }),
    ),
    allowedListeners: optional(
      record({ namespaces: optional(record({ from: text, selector: optional(labelSelector) })) }),
    ),
    listeners,
  }),
  status: record({
    addresses: list(record({ value: name })),
    conditions: list(record({ type: name, status: name })),
  }),
});

const backendObject = { group: text, kind: text, namespace: text, name, port: int32 };
const routeValue = list(record({ type: text, name, value: text }));
const headerValues = list(record({ name, value: text }));
const headerModifier = optional(record({ set: headerValues, add: headerValues, remove: list(name) }));
const backendRef = record({
  ...backendObject,
  weight: int32,
  filters: list(record({ type: name, requestHeaderModifier: headerModifier, responseHeaderModifier: headerModifier })),
});

const grpcMethod = record({ type: text, service: text, method: text });
/** A method of HTTP is a text. That of a GRPCRoute names a service, or a method of one. */
const routeMethod: Read<Value<typeof grpcMethod> | string | undefined> = (raw, malformed) =>
  isObject(raw) ? grpcMethod(raw, malformed) : text(raw, malformed);
const routeMatch = record({
  path: optional(record({ type: text, value: text })),
  method: routeMethod,
  headers: routeValue,
  queryParams: routeValue,
});

export const kubernetesRoute = record({
  spec: record({
    parentRefs: list(record({ group: text, kind: text, namespace: text, name, sectionName: text, port: int32 })),
    hostnames: list(name),
    rules: list(
      record({
        matches: list(routeMatch),
        filters: list(
          record({
            type: name,
            requestHeaderModifier: headerModifier,
            responseHeaderModifier: headerModifier,
            requestMirror: optional(record({ backendRef: optional(record(backendObject)) })),
            requestRedirect: optional(
              record({
                scheme: text,
                hostname: text,
                port: int32,
                path: optional(record({ type: text, replacePrefixMatch: text })),
              }),
            ),
            urlRewrite: optional(
              record({
                hostname: text,
                path: optional(record({ type: text, replaceFullPath: text, replacePrefixMatch: text })),
              }),
            ),
          }),
        ),
        backendRefs: list(backendRef),
        timeouts: optional(record({ request: text, backendRequest: text })),
        retry: optional(record({ attempts: int32, codes: list(int32) })),
      }),
    ),
  }),
});

export const referenceGrant = record({
  spec: record({
    from: list(record({ group: name, kind: name, namespace: name })),
    to: list(record({ group: name, kind: name, name: text })),
  }),
});

export const peerAuthentication = record({
  spec: record({ selector, mtls: peerMtls, portLevelMtls: mapByPort(peerMtls) }),
});

export const authorizationPolicy = record({
  spec: record({
    selector,
    targetRef: optional(targetRef),
    targetRefs: list(targetRef),
    action: text,
    provider: optional(record({ name })),
    rules: list(
      record({
        from: list(record({ source })),
        to: list(record({ operation })),
        when: list(record({ key: name, values: list(name), notValues: list(name) })),
      }),
    ),
  }),
});

export const requestAuthentication = record({
  spec: record({
    selector,
    targetRef: optional(targetRef),
    targetRefs: list(targetRef),
    jwtRules: list(
      withProtobufNames(
        { jwks_uri: "jwksUri" },
        record({
          issuer: text,
          jwksUri: text,
          jwks: fingerprint,
          audiences: list(name),
          fromHeaders: list(record({ name, prefix: name })),
          fromParams: list(name),
          fromCookies: list(name),
          outputPayloadToHeader: text,
          forwardOriginalToken: flag,
          outputClaimToHeaders: list(record({ header: text, claim: name })),
        }),
      ),
    ),
  }),
});

/** A patch. What is not read of its own is kept, so that patches can be compared. */
const configPatch = record({
  applyTo: text,
  match: optional(
    record({
      context: text,
      proxy: optional(record({ proxyVersion: text, metadata: map(text) })),
      routeConfiguration: fingerprint,
      cluster: fingerprint,
      waypoint: fingerprint,
      listener: optional(
        record({
          portNumber: fingerprint,
          portName: text,
          name: text,
          listenerFilter: text,
          filterChain: optional(
            record({
              name: text,
              sni: text,
              transportProtocol: text,
              applicationProtocols: text,
              destinationPort: fingerprint,
              filter: optional(record({ name: text, subFilter: optional(record({ name: text })) })),
            }),
          ),
        }),
      ),
    }),
  ),
  patch: optional(record({ operation: text, value: fingerprint })),
});

export const envoyFilter = record({
  spec: record({
    workloadSelector: optional(record({ labels: map(text) })),
    targetRefs: list(targetRef),
    priority: int32,
    configPatches: list(configPatch),
  }),
});

const attached = { selector, targetRef: optional(targetRef), targetRefs: list(targetRef) };

export const wasmPlugin = record({
  spec: record({
    ...attached,
    url: fingerprint,
    sha256: fingerprint,
    imagePullPolicy: fingerprint,
    imagePullSecret: fingerprint,
    verificationKey: fingerprint,
    pluginConfig: fingerprint,
    pluginName: fingerprint,
    phase: fingerprint,
    priority: fingerprint,
    failStrategy: fingerprint,
    vmConfig: fingerprint,
    match: fingerprint,
    type: fingerprint,
  }),
});

export const trafficExtension = record({
  spec: record({
    selector,
    targetRefs: list(targetRef),
    phase: fingerprint,
    priority: fingerprint,
    match: fingerprint,
    wasm: fingerprint,
    lua: fingerprint,
  }),
});

const providers = list(record({ name }));

export const telemetry = record({
  spec: record({
    ...attached,
    accessLogging: list(
      record({
        providers,
        match: optional(record({ mode: text })),
        disabled: flag,
        filter: optional(record({ expression: text })),
      }),
    ),
    tracing: list(
      record({
        providers,
        match: optional(record({ mode: text })),
        disableSpanReporting: flag,
        randomSamplingPercentage: number,
      }),
    ),
    metrics: list(
      record({
        providers,
        overrides: list(
          record({ match: optional(record({ metric: text, customMetric: text, mode: text })), disabled: flag }),
        ),
      }),
    ),
  }),
});

export const proxyConfig = record({
  spec: record({
    selector,
    environmentVariables: map(fingerprint),
    image: optional(record({ imageType: text })),
  }),
});

export const service = record({
  spec: record({
    type: text,
    selector: map(text),
    externalName: text,
    trafficDistribution: text,
    clusterIP: text,
    clusterIPs: list(name),
    ports: list(record({ port: int32, name: text, targetPort: intOrText, protocol: text, appProtocol: text })),
  }),
});

export const ingress = record({
  spec: record({
    ingressClassName: text,
    defaultBackend: optional(record({})),
    tls: list(record({ hosts: list(name), secretName: text })),
    rules: list(
      record({
        host: text,
        http: optional(
          record({
            paths: list(
              record({
                path: text,
                pathType: text,
                backend: record({
                  service: optional(record({ name, port: record({ number: int32, name: text }) })),
                }),
              }),
            ),
          }),
        ),
      }),
    ),
  }),
});

export const ingressClass = record({ spec: record({ controller: text }) });

export const admissionWebhook = record({
  webhooks: list(
    record({
      clientConfig,
      namespaceSelector: labelSelector,
      objectSelector: labelSelector,
      matchConditions: list(record({ expression: text })),
    }),
  ),
  spec: record({
    service: serviceCalled,
    conversion: optional(record({ webhook: optional(record({ clientConfig })) })),
    group: text,
    names: record({ kind: text }),
    versions: list(record({ name: text, served: flag })),
  }),
});

/** What must hold of some requests: see policy/intent-schema.ts for what each field means. */
export const meshwardIntent = record({
  spec: record({
    to: record({
      service: text,
      host: text,
      workloads: optional(map(text)),
      namespaces: optional(record({ names: list(name), labels: map(text) })),
      ports: list(int32),
    }),
    requests: list(
      record({
        from: list(name),
        methods: list(name),
        notMethods: list(name),
        paths: list(name),
        notPaths: list(name),
        headers: map(list(name)),
        hosts: list(name),
        notHosts: list(name),
        requestPrincipals: list(name),
        notRequestPrincipals: list(name),
        claims: map(list(name)),
        ipBlocks: list(name),
        notIpBlocks: list(name),
        remoteIpBlocks: list(name),
        notRemoteIpBlocks: list(name),
        expect: name,
        destinations: list(record({ service: text, subset: text, atLeast: int32 })),
      }),
    ),
  }),
});

export const namespace = record({ status: record({ phase: text }) });
