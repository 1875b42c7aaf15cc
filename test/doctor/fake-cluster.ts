import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { documentDefinitions } from "../../src/deploy/definitions.ts";
import { webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { kindsFollowed } from "../../src/engine/declared-reads.ts";
import { kinds } from "../../src/kube/kinds.ts";
import { rules } from "../../src/rules/index.ts";
import { ClusterError, type Fault } from "../../src/sources/cluster/cluster-error.ts";
import type { ApiRequest, ClusterConnection } from "../../src/sources/cluster/connection.ts";

// oxlint-disable-next-line no-explicit-any -- objects are built and changed field by field
export type Raw = Record<string, any>;
export const refused = (fault: Fault, message: string): ClusterError => new ClusterError(fault, message);

const registration = "/apis/admissionregistration.k8s.io/v1";
export const paths = {
  validating: `${registration}/validatingwebhookconfigurations/meshward`,
  mutating: `${registration}/mutatingwebhookconfigurations/meshward`,
  allMutating: `${registration}/mutatingwebhookconfigurations`,
  namespace: "/api/v1/namespaces/meshward-system",
  service: "/api/v1/namespaces/meshward-system/services/meshward",
  slices: "/apis/discovery.k8s.io/v1/namespaces/meshward-system/endpointslices",
  namespaces: "/api/v1/namespaces",
  policies: "/apis/meshward.io/v1alpha1/meshwardpolicies",
  exceptions: "/apis/meshward.io/v1alpha1/meshwardexceptions",
  definition: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshwardpolicies.meshward.io",
  pods: "/api/v1/namespaces/meshward-system/pods",
  selfTest: "/apis/networking.istio.io/v1/namespaces/default/virtualservices",
  leases: "/apis/coordination.k8s.io/v1/namespaces/meshward-system/leases",
  who: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
  accessOfOther: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
  accessOfSelf: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
} as const;
export const metricsOf = (pod: string): string => `/api/v1/namespaces/meshward-system/pods/${pod}:8080/proxy/metrics`;

export type Answer = object | string | ClusterError | ((request: ApiRequest) => object | ClusterError);

/** A cluster by the paths that it answers, without their queries; any other path is absent. */
export function clusterWith(answers: Readonly<Record<string, Answer>>, time: number) {
  const asked: ApiRequest[] = [];
  const connection: ClusterConnection = {
    server: "https://cluster",
    async request(request) {
      asked.push(request);
      const answer = answers[request.path.split("?")[0] ?? ""];
      const found = typeof answer === "function" ? answer(request) : answer;
      if (found === undefined) throw refused("absent", `${request.path} does not exist`);
      if (found instanceof ClusterError) throw found;
      const text = typeof found === "string" ? found : JSON.stringify(found);
      const response = Readable.from([Buffer.from(text)]) as IncomingMessage;
      response.headers = { date: new Date(time).toUTCString() };
      return response;
    },
    close: () => undefined,
  };
  return { connection, asked };
}

/** Everything as it should be, three replicas, with this authority in caBundle. */
export function healthy(caBundle: string): Record<string, Answer> {
  const service = { name: "meshward", namespace: "meshward-system" };
  const [validating, mutating] = webhookConfigurations(rules, { service, caBundle });
  const pods = ["a", "b", "c"].map((name) => ({
    metadata: { name },
    status: { conditions: [{ type: "Ready", status: "True" }] },
  }));
  return {
    "/version": { major: "1", minor: "33", gitVersion: "v1.33.1" },
    [paths.validating]: structuredClone(validating),
    [paths.mutating]: structuredClone(mutating),
    [paths.allMutating]: { items: [structuredClone(mutating)] },
    [paths.namespace]: { metadata: { name: "meshward-system", labels: {} } },
    [paths.service]: { metadata: { name: "meshward" }, spec: { ports: [{ port: 443 }] } },
    [paths.slices]: { items: [{ endpoints: pods.map((_, i) => ({ addresses: [`10.0.0.${i}`] })) }] },
    [paths.pods]: { items: pods },
    ...Object.fromEntries(
      pods.map(({ metadata }) => [
        metricsOf(metadata.name),
        'meshward_build_info{version="0.0.0",node_version="v24"} 1\nmeshward_policies{state="loaded"} 2\nmeshward_policies{state="kept"} 0\nmeshward_exceptions{state="active"} 1\n',
      ]),
    ),
    [paths.selfTest]: refused(
      "forbidden",
      'admission webhook "mesh.validate.meshward.io" denied the request: VirtualService default/x',
    ),
    [paths.who]: { status: { userInfo: { username: "admin" } } },
    [paths.accessOfOther]: { status: { allowed: true } },
    ...servedKinds(),
    ...definitions(),
    [paths.namespaces]: {
      items: [
        { metadata: { name: "default" } },
        { metadata: { name: "payments", labels: { "meshward.io/protected": "true" } } },
      ],
    },
    [paths.policies]: { items: [structuredClone(policy)] },
    [paths.exceptions]: { items: [] },
  };
}

/** A policy that is in force. */
export const policy = {
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardPolicy",
  metadata: { name: "ledger", generation: 2 },
  spec: { protectedNamespaces: { names: ["ledger-*"] } },
  status: { observedGeneration: 2, conditions: [{ type: "InForce", status: "True" }] },
};

function definitions(): Record<string, object> {
  const status = { conditions: [{ type: "Established", status: "True" }] };
  return Object.fromEntries(
    documentDefinitions(rules).map((one) => [
      `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${one.metadata.name}`,
      { ...structuredClone(one), status },
    ]),
  );
}

function servedKinds(): Record<string, object> {
  const lists: Record<string, { resources: { name: string }[] }> = {};
  for (const kind of kindsFollowed(rules))
    for (const { group, versions, plural } of kinds[kind].served)
      for (const version of versions) {
        const list = (lists[group === "" ? `/api/${version}` : `/apis/${group}/${version}`] ??= { resources: [] });
        list.resources.push({ name: plural });
      }
  return lists;
}
