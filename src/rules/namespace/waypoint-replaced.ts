import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { proxyConfigAnnotation } from "../../kube/proxy-config.ts";
import { believedCertificates } from "../../mesh/membership/forwarded-headers.ts";
import { proxyConfigOfGateway, proxyReplacements } from "../../mesh/membership/gateway-proxies.ts";
import {
  gatewayOfProxy,
  hasClassOfIstio,
  isForIngress,
  isIstiosWaypoint,
  isProxyOf,
  type KubernetesGateway,
  serviceAccountOf,
} from "../../mesh/membership/gateways.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isOfGateway, isOwned } from "../../mesh/membership/workloads.ts";
import { kubernetesGatewayByName } from "../../mesh/objects/indexes.ts";
import { gatewayNameLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { identityOfWaypoint } from "../../mesh/waypoints/bindings.ts";
import { waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A gateway and the workloads whose pods have the label with its name, which its Service selects. */
const workloadsCalledGateway = relation(
  "workloadsCalledGateway",
  kubernetesGatewayByName,
  index("Workload", (workload) => {
    const name = workload.pod.labels[gatewayNameLabel];
    return name === undefined || isOwned(workload) ? [] : [`${workload.metadata.namespace}/${name}`];
  }),
);

const waypointByAccount = index("KubernetesGateway", (gateway, settings) => {
  if (!isIstiosWaypoint(gateway, settings)) return [];
  const { namespace, serviceAccount } = identityOfWaypoint(gateway.metadata, gateway);
  return [`${namespace}/${serviceAccount}`];
});

/** A waypoint and the workloads of its namespace that have its service account. */
const workloadsWithAccountOf = relation(
  "workloadsWithAccountOf",
  waypointByAccount,
  index("Workload", (workload) =>
    isOwned(workload) ? [] : [`${workload.metadata.namespace}/${workload.pod.serviceAccountName}`],
  ),
);

/** A waypoint and the ingress gateways of its namespace that have its service account. */
const ingressWithAccountOf = relation(
  "ingressWithAccountOf",
  waypointByAccount,
  index("KubernetesGateway", (gateway, settings) =>
    isForIngress(gateway, settings) ? [`${gateway.metadata.namespace}/${serviceAccountOf(gateway, settings)}`] : [],
  ),
);

const reads = [
  waypointsServing,
  workloadsCalledGateway,
  workloadsWithAccountOf,
  ingressWithAccountOf,
  gatewayOfProxy,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const namespaceWaypointReplaced = defineRule({
  id: "namespace-waypoint-replaced",
  subject: "Namespace",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "ambient"],
  summary:
    "A waypoint of another namespace that serves this one is run with another proxy, believes what clients say of their certificates, or shares its requests or its account.",
  why: "Whoever writes the Gateway of a shared waypoint, or workloads in its namespace, decides what enforces the policies of the namespaces that it serves: istiod makes the pods from the Gateway (Istio pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go, manifests/charts/istio-control/istio-discovery/files/waypoint.yaml), its Service selects every pod with the label gateway.networking.k8s.io/gateway-name, its proxy passes X-Forwarded-Client-Cert on as clients wrote it if its proxy config says so (pilot/pkg/networking/util/proxy_headers.go GetProxyHeadersFromProxyConfig), and ztunnel knows the waypoint by its service account alone.",
  fix: "Remove what the message names. Let only those who run the mesh write in the namespace of a shared waypoint.",
  incident: {
    symptoms: ["protection-missing", "waypoint-bypassed"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Policies at the waypoint deny nothing, for all requests or for some, or `istioctl proxy-status` shows another proxy than before.",
    wayOut: "Apply the previous version of the Gateway, and delete the workload or the Gateway that the message names.",
    silentWhen:
      "The waypoint is in the namespace itself, where other rules report the same, the ConfigMap of parametersRef itself changes, or it is not known which waypoint serves the namespace.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(namespace, mesh) {
    if (isTerminating(namespace)) return;
    const accounts = new Set<string>();
    const sorted = [...mesh.get(waypointsServing, namespace).elsewhere].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, { gateway }] of sorted)
      for (const problem of problemsOf({ gateway, name: `Waypoint ${name}` }, accounts, mesh)) {
        const message = `${problem.message}; the waypoint serves namespace ${namespace.metadata.name}`;
        yield { ...problem, at: [], message, related: [gateway, ...(problem.related ?? [])] };
      }
  },
});

interface Waypoint {
  readonly gateway: KubernetesGateway;
  readonly name: string;
}
type Found = Pick<Problem, "key" | "fix" | "related"> & { readonly message: string };

/** What the Gateway says of the pods that istiod makes from it. */
function* ofPods({ gateway, name }: Waypoint, settings: MeshSettings): Iterable<Found> {
  for (const { key, fix, sentence } of proxyReplacements(gateway, settings))
    yield { key: `${name} ${key}`, message: sentence(name), fix };
  if (!hasClassOfIstio(gateway, settings)) return;
  const believed = believedCertificates(proxyConfigOfGateway(gateway).config, isForIngress(gateway, settings));
  if (believed === undefined) return;
  const { field, value } = believed;
  yield {
    key: `${name} ${field}`,
    message: `${name} passes on client certificates that clients write into a header themselves: ${field} ${JSON.stringify(value)} in annotation ${proxyConfigAnnotation}`,
    fix: `Remove ${field} from the annotation.`,
  };
}

/** `accounts`: those of which the workloads were reported already, for another waypoint. */
function* problemsOf({ gateway, name }: Waypoint, accounts: Set<string>, mesh: View): Iterable<Found> {
  if (isServed(gateway, mesh.settings)) yield* ofPods({ gateway, name }, mesh.settings);
  if (!isIstiosWaypoint(gateway, mesh.settings)) return;
  for (const workload of mesh.related(workloadsCalledGateway, gateway))
    if (!(isOfGateway(workload) && isProxyOf(workload, gateway, mesh.settings)))
      yield {
        key: `${name} ${idOf(workload)} called`,
        message: `${name} shares its requests with ${idOf(workload)}, whose pods have the label of its Gateway`,
        fix: `Remove the label ${gatewayNameLabel} from the pods.`,
        related: [workload],
      };
  const { serviceAccount } = identityOfWaypoint(gateway.metadata, gateway);
  const account = `${gateway.metadata.namespace}/${serviceAccount}`;
  if (accounts.has(account)) return;
  accounts.add(account);
  const sharing = [
    ...workloadsSharingAccount(gateway, mesh).map((one) => [one, "workload"] as const),
    ...mesh.related(ingressWithAccountOf, gateway).map((one) => [one, "Gateway"] as const),
  ];
  for (const [object, kind] of sharing)
    yield {
      key: `${account} ${idOf(object)}`,
      message: `${name} shares its service account with ${idOf(object)}, which ztunnel lets in wherever it lets the waypoint in`,
      fix: `Give the ${kind} a service account of its own.`,
      related: [object],
    };
}

/** The workloads with the account of a waypoint, except those that istiod runs for a Gateway. */
const workloadsSharingAccount = (waypoint: KubernetesGateway, mesh: View) =>
  mesh
    .related(workloadsWithAccountOf, waypoint)
    .filter(
      (workload) => !mesh.related(gatewayOfProxy, workload).some((one) => isProxyOf(workload, one, mesh.settings)),
    );
