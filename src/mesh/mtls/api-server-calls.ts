import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { captureOf, enrollmentOf } from "../membership/capture.ts";
import { type Captured, captured } from "../membership/captured.ts";
import { passedBy } from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Service } from "../membership/services.ts";
import { portsNamed, type Workload } from "../membership/workloads.ts";
import { acceptsPlaintext, atPort, mtls, type NamespaceMtls, planesOfNamespace } from "./effective-mtls.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { boundPorts, sidecarsOfPassing } from "../traffic/bound-ports.ts";

export type AdmissionWebhook = ObjectOf<"AdmissionWebhook">;

/** A Service that the API server calls. */
export interface ServiceCalled {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

/** The called Services, each once; the default port is 443. Webhooks with a URL call no Service. */
function servicesCalled({ webhooks, spec }: AdmissionWebhook): readonly ServiceCalled[] {
  const found = [
    ...webhooks.map(({ clientConfig }) => clientConfig?.service),
    spec.service,
    spec.conversion?.webhook?.clientConfig?.service,
  ].flatMap((service) => (service === undefined ? [] : [{ ...service, port: service.port ?? 443 }]));
  return [...new Map(found.map((one) => [`${one.namespace}/${one.name}:${one.port}`, one])).values()];
}

/** A namespace and the objects that make the API server call a Service in it. */
export const webhooksOfNamespace = relation(
  "webhooksOfNamespace",
  namespaceByName,
  index("AdmissionWebhook", (webhook) => servicesCalled(webhook).map(({ namespace }) => namespace)),
);

/** The called Services by namespace: one configuration can call Services of many namespaces. */
const servicesCalledIn = fact("servicesCalledIn", "AdmissionWebhook", [], (webhook) =>
  Map.groupBy(servicesCalled(webhook), ({ namespace }) => namespace),
);

/** A Service that the API server calls, and the object that makes it do so. */
export interface Call {
  readonly webhook: AdmissionWebhook;
  readonly called: ServiceCalled;
}
/** The calls of the API server to Services of a namespace. */
export const callsOfNamespace = fact(
  "callsOfNamespace",
  "Namespace",
  [webhooksOfNamespace, servicesCalledIn],
  (namespace, mesh): readonly Call[] =>
    mesh.related(webhooksOfNamespace, namespace).flatMap((webhook) => {
      const called = mesh.get(servicesCalledIn, webhook).get(namespace.metadata.name) ?? [];
      return called.map((one) => ({ webhook, called: one }));
    }),
);

/** The calls of the API server that the pods of a namespace refuse. */
export const refusals = fact(
  "refusals",
  "Namespace",
  [mtls, captured, sidecarsOfPassing],
  (namespace, mesh) => new Refusals(namespace, mesh),
);

/**
 * Whether calls of the API server, which is outside the mesh and has no mesh certificate, are refused, because the data
 * plane of the pods requires mTLS at the port. If the pods are not known, the mode of the namespace decides.
 */
export const refusesApiServer = (
  called: ServiceCalled,
  service: Service | undefined,
  namespace: Namespace,
  mesh: MeshView<typeof refusals>,
): boolean => mesh.get(refusals, namespace).refuses(called, service);

/** Services that select the same pods have the same result, which is computed once. */
class Refusals {
  readonly #namespace: Namespace;
  readonly #mtls: NamespaceMtls;
  readonly #captured: Captured;
  readonly #mesh: MeshView<typeof sidecarsOfPassing>;
  readonly #found = new Map<readonly Workload[], Map<string, boolean>>();

  constructor(namespace: Namespace, mesh: MeshView<typeof mtls | typeof captured | typeof sidecarsOfPassing>) {
    this.#namespace = namespace;
    this.#mtls = mesh.get(mtls, namespace);
    this.#captured = mesh.get(captured, namespace);
    this.#mesh = mesh;
  }

  refuses(called: ServiceCalled, service: Service | undefined): boolean {
    const pods = service === undefined ? [] : this.#podsOf(service);
    if (pods.length > 0) return this.#doPodsRefuse(pods, called.port, targetOf(called, service));
    if (this.#mesh.knowsAll("Workload")) return false;
    const { settings } = this.#mesh;
    const { planes, isCertain } = planesOfNamespace(this.#namespace, settings);
    const isEnrolled = isCertain && enrollmentOf(this.#namespace, settings) !== "none";
    return isEnrolled && planes.every((plane) => !acceptsPlaintext(this.#mtls.wide(plane)));
  }

  /** As selectsWorkload has it. */
  #podsOf({ spec }: Service): readonly Workload[] {
    const selectsNone = spec.type === "ExternalName" || Object.keys(spec.selector).length === 0;
    return selectsNone ? [] : this.#captured.workloads.selected(spec.selector);
  }

  #doPodsRefuse(pods: readonly Workload[], port: number, target: number | string): boolean {
    const key = JSON.stringify([port, target]);
    const known = this.#found.get(pods) ?? new Map<string, boolean>();
    this.#found.set(pods, known);
    const found = known.get(key) ?? pods.some((pod) => this.#doesPodRefuse(pod, portOf(pod, port, target)));
    known.set(key, found);
    return found;
  }

  #doesPodRefuse(workload: Workload, port: number): boolean {
    const { pod } = workload;
    const { settings } = this.#mesh;
    const capture = captureOf(workload, this.#namespace, settings);
    if (capture !== "sidecar" && capture !== "ambient") return false;
    const surroundings = { namespace: this.#namespace, settings, bound: boundPorts(workload, this.#mesh) };
    if (passedBy(workload, surroundings, port) !== undefined) return false;
    return !acceptsPlaintext(atPort(this.#mtls.of(pod.labels, capture), port));
  }
}

const targetOf = ({ port }: ServiceCalled, service: Service | undefined): number | string =>
  service?.spec.ports.find((one) => one.port === port)?.targetPort ?? port;

function portOf(workload: Workload, port: number, target: number | string): number {
  if (typeof target === "number") return target === 0 ? port : target;
  return portsNamed(workload, target)[0] ?? port;
}
