import { ownMetadata, protectedLabel } from "../../kube/meshward-metadata.ts";
import { nearest } from "../../text/nearest.ts";

/** A key of labels or annotations that Istio or Meshward does not read, because it is misspelt or in the wrong place. */
export interface WrongKey {
  readonly in: "labels" | "annotations";
  readonly key: string;
  /** The key that was probably meant, or `key` itself if it belongs into the other map. */
  readonly meant: string;
}

/** The labels that Istio reads from objects of users, or sets (istio.io/api label/labels.gen.go, and those of the injector). */
const istioLabels = keysOf({
  "": "istio-injection istio-locality",
  "gateway.istio.io": "managed tls-terminate-mode",
  "gateway.networking.k8s.io": "gateway-class-name gateway-name",
  "istio.io":
    "dataplane-mode ingress-use-waypoint rev tag use-waypoint use-waypoint-canary use-waypoint-canary-namespace use-waypoint-namespace waypoint-for gateway-name config global persistent-session draining",
  "networking.istio.io": "enable-autoallocate-ip gatewayPort tunnel",
  "operator.istio.io": "component managed version",
  "security.istio.io": "tlsMode",
  "service.istio.io": "canonical-name canonical-revision workload-name",
  "sidecar.istio.io": "inject",
  "topology.istio.io": "cluster locality network subzone",
});

/** The annotations (istio.io/api annotation/annotations.gen.go, and those that Istio reads without listing them there). */
const istioAnnotations = keysOf({
  "alpha.istio.io": "canonical-serviceaccounts kubernetes-serviceaccounts",
  "ambient.istio.io":
    "bypass-inbound-capture dns-capture redirection waypoint-inbound-binding xfcc-include-client-identity",
  "galley.istio.io": "analyze-suppress",
  "gateway.istio.io": "controller-version name-override service-account tls-cipher-suites",
  "inject.istio.io": "templates",
  "istio.io":
    "autoRegistrationGroup connectedAt disconnectedAt dry-run reroute-virtual-interfaces rev use-waypoint-canary-weight workloadController persistent-session persistent-session-header connect-strategy",
  "networking.istio.io": "exportTo service-type traffic-distribution address-type",
  "prometheus.istio.io": "merge-metrics secure-port scrape-targets",
  "proxy.istio.io": "config overrides health-checks-enabled",
  "readiness.status.sidecar.istio.io": "applicationPorts failureThreshold initialDelaySeconds periodSeconds",
  "sidecar.istio.io":
    "agentLogLevel bootstrapOverride componentLogLevel discoveryAddress extraStatTags inject interceptionMode logLevel nativeSidecar proxyCPU proxyCPULimit proxyImage proxyImageType proxyMemory proxyMemoryLimit rewriteAppHTTPProbers statsCompression statsEvictionInterval statsFlushInterval statsHistogramBins statsHistogramBuckets statsInclusionPrefixes statsInclusionRegexps statsInclusionSuffixes status userVolume userVolumeMount",
  "status.sidecar.istio.io": "port",
  "topology.istio.io": "controlPlaneClusters",
  "traffic.istio.io": "nodeSelector",
  "traffic.sidecar.istio.io":
    "excludeInboundPorts excludeInterfaces excludeOutboundIPRanges excludeOutboundPorts includeInboundPorts includeOutboundIPRanges includeOutboundPorts kubevirtInterfaces",
});

const ownKeys = (type: "label" | "annotation"): readonly string[] =>
  ownMetadata.filter((one) => one.type === type).map(({ key }) => key);
const labels: ReadonlySet<string> = new Set([...istioLabels, ...ownKeys("label")]);
const annotations: ReadonlySet<string> = new Set([...istioAnnotations, ...ownKeys("annotation")]);

/** Labels that have no effect as annotations, where somebody may write them. Others are copied by tools. */
const onlyLabels: ReadonlySet<string> = new Set([
  "istio-injection",
  protectedLabel.key,
  ...["dataplane-mode", "use-waypoint", "use-waypoint-namespace", "ingress-use-waypoint", "waypoint-for"].map(
    (name) => `istio.io/${name}`,
  ),
]);

const known: ReadonlySet<string> = new Set([...labels, ...annotations]);
/** The names of each domain, and the domains of each name. */
const namesIn = grouped([...known].map(partsOf));
const domainsOf = grouped([...known].map(partsOf).map(([domain, name]) => [name, domain] as const));

type Values = Readonly<Record<string, string>>;

/** The keys of an object that Istio or Meshward would read if they were written differently. */
export function* wrongKeys(object: { readonly labels: Values; readonly annotations: Values }): Generator<WrongKey> {
  for (const place of ["labels", "annotations"] as const)
    for (const key of Object.keys(object[place])) {
      const meant = meantBy(key, place);
      // Somebody may have written both, the wrong one for nothing.
      if (meant !== undefined && (meant === key || object[place][meant] === undefined)) yield { in: place, key, meant };
    }
}

function meantBy(key: string, place: WrongKey["in"]): string | undefined {
  if (known.has(key)) {
    const isMisplaced = place === "annotations" ? onlyLabels.has(key) : !labels.has(key);
    return isMisplaced ? key : undefined;
  }
  let meant = remembered.get(key);
  if (meant === undefined) {
    if (remembered.size >= mostRemembered) remembered.clear();
    remembered.set(key, (meant = { key: misspelt(key) }));
  }
  return meant.key;
}
/** Workloads of a mesh share most of their keys. */
const remembered = new Map<string, { readonly key: string | undefined }>();
const mostRemembered = 10_000;

function misspelt(key: string): string | undefined {
  const [domain, name] = partsOf(key);
  if (domain === "") return /istio/i.test(name) ? nearest(name, namesIn.get("") ?? []) : undefined;
  if (key === "istio.io/revision") return "istio.io/rev";
  const own = nearest(name, namesIn.get(domain) ?? []);
  if (own !== undefined) return `${domain}/${own}`;
  const other = domainMeant(domain, domainsOf.get(name) ?? []);
  return other === undefined ? undefined : `${other}/${name}`;
}

/** The domain that was meant, of those that have the name. Of a long name, any domain of Istio stands for its only one. */
function domainMeant(domain: string, those: readonly string[]): string | undefined {
  const near = nearest(domain, those);
  if (near !== undefined) return near;
  return those.length === 1 && domain.endsWith(".istio.io") ? those[0] : undefined;
}

function keysOf(byDomain: Readonly<Record<string, string>>): ReadonlySet<string> {
  return new Set(
    Object.entries(byDomain).flatMap(([domain, names]) =>
      names.split(" ").map((name) => (domain === "" ? name : `${domain}/${name}`)),
    ),
  );
}

function partsOf(key: string): readonly [domain: string, name: string] {
  const slash = key.indexOf("/");
  return slash < 0 ? ["", key] : [key.slice(0, slash), key.slice(slash + 1)];
}

function grouped(pairs: readonly (readonly [string, string])[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const [from, to] of pairs) found.set(from, [...(found.get(from) ?? []), to]);
  return found;
}
