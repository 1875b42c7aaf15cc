import { absent, absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import {
  gatewaysGeneratingForIngress,
  type Ingress,
  type IngressRule,
  isServedByIstio,
  portOfBackend,
  rulesOfIngress,
  servicesOfIngress,
} from "../../mesh/gateways/ingresses.ts";
import type { Service } from "../../mesh/membership/services.ts";
import type { MeshView } from "../../view/view.ts";
import { portMeant } from "../../mesh/traffic/port-meant.ts";

export const ingressBackendNotFound = defineRule({
  id: "ingress-backend-not-found",
  subject: "Ingress",
  reads: [isServedByIstio, servicesOfIngress, gatewaysGeneratingForIngress],
  worksWithout: ["IngressClass", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "An Ingress of Istio's class has a backend to which istiod makes no route, or one that leads nowhere.",
  why: "For each path of an Ingress, istiod makes a route. For a port that is named, it looks the Service up, and without the Service or the port there is no route; a port with a number is not looked up, and Envoy has no cluster for it if the Service does not have it (Istio pilot/pkg/config/kube/ingress/virtualservices.go ingressBackendToHTTPRoute, resolveNamedPort). Backends that are no Service, and the default backend, are ignored (RuleCollection). Only the log of istiod says so.",
  fix: "Correct the name or the port of the backend, or create the Service first. The port is that of the Service, not of its pods. Instead of a default backend, write a rule without a host.",
  incident: {
    symptoms: ["no-cluster", "no-route"],
    proxies: ["gateway"],
    seen: "The gateway answers 503 with the flag NC for a port with a number. Where there is no route, other paths of the host get the requests, or the answer is 404.",
    wayOut: "Apply the previous version of the Ingress. If the Service was deleted, apply it again.",
    silentWhen:
      "Another controller serves the Ingress, its IngressClass is not known, or the Services are not known. The Service is an ExternalName.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/kubernetes-ingress/",
  },

  *check(ingress, mesh) {
    if (mesh.get(isServedByIstio, ingress) !== true) return;
    if (ingress.spec.defaultBackend !== undefined)
      yield {
        at: ["spec", "defaultBackend"],
        message: "istiod ignores the default backend, so requests that no rule matches get 404",
        fix: "Write a rule without a host instead, with the path `/`.",
      };
    const services = new Map(mesh.related(servicesOfIngress, ingress).map((one) => [one.metadata.name, one]));
    for (const rule of rulesOfIngress(ingress)) {
      yield;
      const service = services.get(rule.backend.service?.name ?? "");
      const problem = problemOf(rule, ingress, service, mesh);
      if (problem === undefined) continue;
      const isGuess = service === undefined && !mesh.knowsAll("Service") && rule.backend.service !== undefined;
      yield isGuess ? { ...problem, guess: "all Services" } : problem;
    }
  },
});

function problemOf(
  { at, backend }: IngressRule,
  { metadata: { namespace } }: Ingress,
  service: Service | undefined,
  mesh: MeshView<typeof gatewaysGeneratingForIngress>,
): Problem | undefined {
  const place = [...at, "backend"];
  if (backend.service === undefined)
    return { at: place, message: "The backend is no Service, so istiod ignores this path", fix: "Name a Service." };
  const { name } = backend.service;
  if (service !== undefined) return portProblem(backend, service, [...place, "service", "port"]);
  if (mesh.hasUnder(gatewaysGeneratingForIngress, `${namespace}/${name}`)) return undefined;
  return {
    at: [...place, "service", "name"],
    message: `Service ${namespace}/${name} does not exist, so ${lost(backend)}`,
    // The port of a Service is looked up by its name in this cluster alone (Istio pilot/pkg/config/kube/ingress/virtualservices.go).
    evidence: [(isByNumber(backend) ? absentHere : absent)("Service", namespace, name)],
  };
}

const isByNumber = ({ service }: IngressRule["backend"]): boolean => (service?.port.number ?? 0) > 0;
const lost = (backend: IngressRule["backend"]): string =>
  isByNumber(backend) ? "requests for this path fail" : "istiod ignores this path";

function portProblem(backend: IngressRule["backend"], service: Service, at: Path): Problem | undefined {
  const asked = portOfBackend(backend, service);
  // A route to an alias leads to the host that it stands for.
  const isAlias = isByNumber(backend) && service.spec.type === "ExternalName";
  if (isAlias || service.spec.ports.some(({ port }) => port === asked)) return undefined;
  const meant = asked === undefined ? namesOf(service) : portMeant([service], asked);
  return {
    at,
    message: `${idOf(service)} has no port ${asked ?? JSON.stringify(backend.service?.port.name)}, so ${lost(backend)}`,
    related: [service],
    evidence: [service],
    ...(meant === undefined ? {} : { fix: `Name a port of the Service, not of its pods. ${meant}` }),
  };
}

function namesOf({ spec }: Service): string | undefined {
  const names = spec.ports.flatMap(({ name }) => name || []).slice(0, 5);
  return names.length === 0
    ? undefined
    : `Its ports are named ${names.map((name) => JSON.stringify(name)).join(", ")}.`;
}
