import type { Proxy, Symptom } from "../engine/incident.ts";

/** What the rules of one symptom have in common. */
export interface SymptomTexts {
  /** The name of the group in the index of the rules, as somebody who sees it would look for it. */
  readonly title: string;
  readonly seen: string;
  /** Commands that show it; words in capital letters are to be replaced. */
  readonly show: readonly string[];
  /** What only some proxies show: a rule has it if one of them is among its own, or if it depends on no proxy. */
  readonly at?: readonly ProxyTexts[];
}

interface ProxyTexts {
  readonly proxies: readonly Proxy[];
  readonly seen: string;
  readonly show: readonly string[];
}

const proxyLog = "kubectl logs POD -n NAMESPACE -c istio-proxy";
/** Of all nodes: `daemonset/ztunnel` is one pod of them, and by a label kubectl prints the last ten lines if no number is given. */
const ztunnelRefusals =
  "kubectl logs -n istio-system -l app=ztunnel --prefix --tail=-1 --since=1h |\n  grep 'policy rejection'";

/** Connections and requests that arrive without mTLS, in the language of Prometheus. */
const plaintextOf = (metric: string): string =>
  `sum by (source_workload, destination_workload) (rate(
  ${metric}{
    reporter="destination", connection_security_policy!="mutual_tls"}[5m]))`;

/** Response flags and details are those of Envoy's access log, the texts of ztunnel those of its `src/proxy.rs`. */
export const symptoms: Readonly<Record<Symptom, SymptomTexts>> = {
  "no-cluster": {
    title: "503 with response flag `NC`",
    seen: "Requests fail with status 503, and the proxy that sends them (the sidecar of the client, a gateway or a waypoint) logs response flag `NC` with `cluster_not_found`. Connections of TCP and TLS are closed with the same flag.",
    show: [`${proxyLog} | grep -w NC`, "istioctl proxy-config clusters POD.NAMESPACE --fqdn HOST"],
  },
  "no-route": {
    title: "404 with response flag `NR`",
    seen: "Requests get status 404, and the proxy that routes them logs response flag `NR` with `route_not_found`. Connections of TCP and TLS are closed, with `filter_chain_not_found`.",
    show: [`${proxyLog} | grep -w NR`, "istioctl proxy-config routes POD.NAMESPACE"],
  },
  "no-endpoints": {
    title: "503 with response flag `UH`: `no healthy upstream`",
    seen: "Requests fail with status 503 and the text `no healthy upstream`, and the proxy that sends them logs response flag `UH`.",
    show: [
      `${proxyLog} | grep -w UH`,
      "istioctl proxy-config endpoints POD.NAMESPACE \\\n  --cluster 'outbound|PORT|SUBSET|HOST'",
    ],
  },
  overflow: {
    title: "503 with response flag `UO` or `UH` although pods are healthy",
    seen: "Requests fail with status 503 although the pods are healthy, and the proxy that sends them logs response flag `UO` (the circuit breaker is open) or `UH` (every pod is ejected).",
    show: [`${proxyLog} | grep -wE 'UO|UH'`, "istioctl proxy-config endpoints POD.NAMESPACE | grep FAILED"],
  },
  "backend-error": {
    title: "500 that the application did not send",
    seen: "Requests get status 500 from the gateway or the waypoint, and the application logs no request.",
    show: [`${proxyLog} | grep -w 500`, "kubectl describe httproute NAME -n NAMESPACE"],
  },
  reset: {
    title: "503 with `UF` or `UC`, `Connection reset by peer`",
    seen: "A client with a proxy gets status 503 and `upstream connect error or disconnect/reset before headers`, with response flag `UC` or `UF`; a client without one gets `Connection reset by peer`.",
    show: [`${proxyLog} | grep -wE 'UC|UF'`],
    at: [
      {
        proxies: ["sidecar"],
        seen: "The sidecar of the server logs `NR` with `filter_chain_not_found`.",
        show: [`${proxyLog} | grep filter_chain_not_found`],
      },
      {
        proxies: ["ztunnel"],
        seen: "ztunnel logs `connection closed due to policy rejection`.",
        show: [ztunnelRefusals],
      },
    ],
  },
  "origination-fails": {
    title: "503 with `UF` or `UC`, from a server outside the mesh",
    seen: "Requests to a server outside the mesh get status 503, and the proxy that sends them logs response flag `UF`, with `TLS_error` if the handshake fails, or `UC`.",
    show: [`${proxyLog} | grep -wE 'UF|UC'`],
  },
  unreachable: {
    title: "Connections are refused or time out",
    seen: "Connections are refused or time out, and no proxy logs them.",
    show: ["kubectl get service,endpointslices -n NAMESPACE", "nc -vz HOST PORT"],
  },
  "access-denied": {
    title: "403 `RBAC: access denied`",
    seen: "Requests that should be allowed are denied.",
    show: [],
    at: [
      {
        proxies: ["sidecar", "gateway", "waypoint"],
        seen: "They get status 403 and `RBAC: access denied`, and the proxy that enforces the policy logs `rbac_access_denied_matched_policy`. Connections of a TCP port are closed.",
        show: [`${proxyLog} | grep rbac_access_denied`],
      },
      {
        proxies: ["ztunnel"],
        seen: "ztunnel closes their connection, and logs `allow policies exist, but none allowed` or `explicitly denied by`, with the policy.",
        show: [ztunnelRefusals],
      },
    ],
  },
  fault: {
    title: "Response flag `FI` or `DI`",
    seen: "The proxy that sends the requests logs response flag `FI` (it answered with an error itself) or `DI` (it waited before sending).",
    show: [`${proxyLog} | grep -wE 'FI|DI'`],
  },
  "no-address": {
    title: "`Could not resolve host`",
    seen: "Clients report that the host cannot be resolved (`NXDOMAIN`), and no proxy logs a request.",
    show: ["kubectl get service -n NAMESPACE"],
  },
  "not-imported": {
    title: "502, `BlackHoleCluster` or `PassthroughCluster`",
    seen: "The sidecar of the client does not know the host: it answers 502 or closes the connection (`BlackHoleCluster`) with REGISTRY_ONLY, and otherwise passes the request on as it is (`PassthroughCluster`).",
    show: [`${proxyLog} |\n  grep -E 'BlackHoleCluster|PassthroughCluster|block_all'`],
  },
  "open-access": {
    title: "Nothing fails: requests are answered that should be denied",
    seen: "Nothing fails. Requests that should be denied get answers.",
    show: [proxyLog],
  },
  plaintext: {
    title: "Nothing fails: requests arrive without mTLS",
    seen: "Nothing fails. Requests without mTLS are accepted, which the metrics of the server's side show.",
    show: ["# in Prometheus:", plaintextOf("istio_requests_total"), plaintextOf("istio_tcp_connections_opened_total")],
  },
  "outside-mesh": {
    title: "Nothing fails: pods are outside the mesh",
    seen: "The traffic of pods is neither encrypted nor checked by any policy.",
    show: [],
    at: [
      {
        proxies: ["sidecar"],
        seen: "They start without a sidecar.",
        show: ["# lists the pods with a sidecar:", "istioctl proxy-status | grep NAMESPACE"],
      },
      {
        proxies: ["ztunnel"],
        seen: "ztunnel does not capture what they send and receive.",
        show: [
          "# the column PROTOCOL is TCP instead of HBONE:",
          "istioctl ztunnel-config workload --workload-namespace NAMESPACE",
        ],
      },
    ],
  },
  "waypoint-bypassed": {
    title: "Nothing fails: requests bypass a waypoint",
    seen: "Nothing fails. Requests do not pass the waypoint, so that its policies and routes do not apply to them and its access log does not have them.",
    show: [
      "# the column WAYPOINT:",
      "istioctl ztunnel-config service --service-namespace NAMESPACE",
      "istioctl waypoint status --namespace NAMESPACE",
    ],
  },
  "no-effect": {
    title: "Nothing fails: an object has no effect",
    seen: "Nothing fails, and Istio reports nothing. The object is stored, and proxies behave as if it, or a part of it, did not exist.",
    show: ["istioctl analyze --namespace NAMESPACE"],
  },
  "other-destination": {
    title: "Requests are answered by something else",
    seen: "Requests get answers from another service, version or address than intended. The proxy that sends them logs where to (`%UPSTREAM_CLUSTER%`, `%UPSTREAM_HOST%`).",
    show: [`${proxyLog} | grep HOST`, "istioctl proxy-config routes POD.NAMESPACE -o json"],
  },
  repeated: {
    title: "Requests arrive twice",
    seen: "The server gets more requests than its clients sent.",
    show: [proxyLog, "istioctl proxy-config routes POD.NAMESPACE -o json"],
  },
  "config-refused": {
    title: "Proxies keep an old configuration",
    seen: "Envoy refuses the new configuration, or istiod leaves a part of it out. Proxies that run keep the old one, and new ones have none. The metric `pilot_total_xds_rejects` of istiod rises.",
    show: ["istioctl proxy-status", "kubectl logs deployment/istiod -n istio-system | grep -i reject"],
  },
  "api-refused": {
    title: "`kubectl apply` or the GitOps controller reports an error",
    seen: "The object is not stored: the API server, or the validation webhook of istiod, answers with an error.",
    show: ["kubectl apply --dry-run=server -f FILE"],
  },
  "pods-refused": {
    title: "New pods are not created",
    seen: "A rollout stops: the ReplicaSet reports `FailedCreate`, with the message of the injector.",
    show: ["kubectl get events -n NAMESPACE --field-selector reason=FailedCreate"],
  },
  "webhook-fails": {
    title: "`failed calling webhook`",
    seen: "Objects cannot be created or changed: the API server reports `failed calling webhook`, with `connection reset by peer`, `EOF` or `no endpoints available`.",
    show: ["kubectl get validatingwebhookconfiguration,mutatingwebhookconfiguration"],
  },
  "foreign-code": {
    title: "Proxies behave as no Istio object says",
    seen: "Proxies do something that no VirtualService and no policy explains.",
    show: [
      "istioctl proxy-status",
      "istioctl proxy-config listeners POD.NAMESPACE -o json",
      "kubectl get envoyfilter,wasmplugin --all-namespaces",
    ],
  },
  "no-telemetry": {
    title: "Logs, metrics or spans are missing",
    seen: "Access logs, metrics or spans of requests are missing, while requests are answered.",
    show: ["kubectl get telemetry --all-namespaces", proxyLog],
  },
  load: {
    title: "Proxies or the collector need more CPU and memory",
    seen: "Proxies, the application or the collector of spans need more CPU and memory than before, at the same number of requests.",
    show: ["kubectl top pods -n NAMESPACE --containers"],
  },
  "protection-missing": {
    title: "Nothing is seen until it is used: a protection is missing",
    seen: "Nothing is seen in traffic. A protection is missing that somebody can make use of.",
    show: [],
  },
};

/** The names of proxies, as a list of them reads. */
export const proxyNames: Readonly<Record<Proxy, string>> = {
  sidecar: "sidecars",
  gateway: "ingress and egress gateways",
  waypoint: "waypoints",
  ztunnel: "ztunnel",
};
