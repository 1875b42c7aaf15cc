import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { namedServersOf } from "../../mesh/client-tls/named-servers.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { namespaceOfService, podsNearService, type Service } from "../../mesh/membership/services.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { servicesOfDestinationRule } from "../../mesh/traffic/destination-rule-services.ts";
import { hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [servicesOfDestinationRule, podsNearService, namespaceOfService] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleRefusesServers = defineRule({
  id: "destination-rule-refuses-servers",
  subject: "DestinationRule",
  reads,
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls"],
  summary: "A DestinationRule names the identities of servers, and workloads of its host have another one.",
  why: "With subjectAltNames, clients accept only certificates with one of these names, in place of the service accounts of the endpoints, which istiod keeps up to date (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). The certificate of a workload of the mesh has one name, its identity, which has to be written in full. Every connection to other workloads fails, and no policy denies it. One of the service accounts that are refused is reported.",
  fix: "Remove `subjectAltNames`, or name the identity of every workload of the host: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients get 503, and their proxies log that the verification of the certificate failed.",
    wayOut: "Remove `subjectAltNames` from the DestinationRule: connections succeed within seconds.",
    silentWhen:
      "The mode is not ISTIO_MUTUAL, insecureSkipVerify is set, the host is a wildcard or outside the mesh, or the workloads have no sidecar. A name that no workload of the host has does no harm: without names, clients accept whatever is an endpoint of the host.",
    page: "https://istio.io/latest/docs/reference/config/networking/destination-rule/",
  },

  *check(rule, mesh) {
    if (!isServed(rule, mesh.settings)) return;
    const named = namedServersOf(rule);
    if (named.length === 0) return;
    const host = hostOfRule(rule, mesh.settings);
    for (const service of mesh.related(servicesOfDestinationRule, rule)) {
      const serversOf = serversBehind(service, mesh);
      for (const { at, names, subset } of named) {
        yield;
        const refused = serversOf(subset).find(({ identity }) => !names.has(identity));
        if (refused !== undefined) yield problemOf({ host, at, service }, refused);
      }
    }
  },
});

/** Workloads of one service account behind a Service. */
interface Server {
  readonly identity: string;
  readonly workload: Workload;
}

interface Place {
  readonly host: string;
  readonly at: Path;
  readonly service: Service;
}

const problemOf = ({ host, at, service }: Place, { identity, workload }: Server): Problem => ({
  at,
  message: `Clients of "${host}" refuse its workloads with service account "${workload.pod.serviceAccountName}": subjectAltNames does not name "${identity}"`,
  key: JSON.stringify([at, identity]),
  evidence: [service, workload],
  related: [workload],
});

/** The workloads with a sidecar behind a Service, one of each service account, in the order of their identities. */
function serversBehind(service: Service, mesh: View): (subset: Labels | undefined) => readonly Server[] {
  const pods = mesh.get(podsNearService, service)?.among(service.spec.selector);
  const [namespace] = mesh.related(namespaceOfService, service);
  const isServer = (workload: Workload) => captureOf(workload, namespace, mesh.settings) === "sidecar";
  // Many subsets can select the same workloads.
  const known = new Map<readonly Workload[], readonly Server[]>();
  return (subset) => {
    const selected = pods?.selected(subset ?? {}) ?? [];
    let servers = known.get(selected);
    if (servers === undefined) {
      mesh.visited(selected.length);
      known.set(selected, (servers = byAccount(selected.filter(isServer), mesh.settings)));
    }
    return servers;
  };
}

function byAccount(workloads: readonly Workload[], { trustDomain }: MeshSettings): readonly Server[] {
  const found = new Map<string, Server>();
  for (const workload of workloads.toSorted(byId)) {
    const { metadata, pod } = workload;
    const identity = `spiffe://${trustDomain}/ns/${metadata.namespace}/sa/${pod.serviceAccountName}`;
    if (!found.has(identity)) found.set(identity, { identity, workload });
  }
  return [...found.values()].sort((a, b) => (a.identity < b.identity ? -1 : 1));
}
