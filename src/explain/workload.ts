import { captureOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../mesh/membership/services.ts";
import { isOwned, type Workload } from "../mesh/membership/workloads.ts";
import { selects } from "../mesh/objects/selectors.ts";
import { hostOfService } from "../mesh/traffic/hosts.ts";
import { waypointBindingOfWorkload } from "../mesh/waypoints/bindings.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { MeshSettings } from "../view/settings.ts";
import { workloadAuthorizationLine } from "./authorization.ts";
import { captureLine, waypointLine } from "./enrollment.ts";
import { byName, type Inquiry } from "./inquiry.ts";
import { workloadMtlsLine } from "./mtls.ts";
import { protectionLine } from "./protection.ts";

/** What applies to one workload. */
export function explainWorkload(
  workload: Workload,
  namespace: Namespace,
  inquiry: Inquiry,
): readonly ExplanationLine[] {
  const { mesh } = inquiry;
  const isAmbient = captureOf(workload, namespace) === "ambient";
  return [
    ...ownerLines(workload),
    captureLine(workload, namespace),
    identityLine(workload, mesh.settings),
    waypointLine(waypointBindingOfWorkload(workload, namespace, mesh), isAmbient),
    workloadMtlsLine(workload, namespace, inquiry),
    workloadAuthorizationLine(workload, namespace, inquiry),
    ...hostLines(workload, namespace, inquiry),
    protectionLine(workload, namespace, inquiry),
  ].filter((line) => line !== undefined);
}

function ownerLines(workload: Workload): readonly ExplanationLine[] {
  const owner = workload.metadata.ownerReferences.find(({ controller }) => controller === true);
  if (!isOwned(workload) || owner === undefined) return [];
  return [{ key: "owner", text: `Made by ${owner.kind} ${owner.name}, which decides its labels`, value: owner.name }];
}

/** Istio pkg/spiffe/spiffe.go GenSpiffeURI, as AuthorizationPolicies write it. */
function identityLine({ metadata, pod }: Workload, { trustDomain }: MeshSettings): ExplanationLine {
  const identity = `${trustDomain}/ns/${metadata.namespace}/sa/${pod.serviceAccountName}`;
  return { key: "identity", text: `Identity where it calls: ${identity}`, value: identity };
}

/** The Services of a namespace that send requests to pods with these labels; without a selector a Service selects nothing. */
export const selectsWorkload = ({ spec }: Service, { pod }: Workload): boolean =>
  Object.keys(spec.selector).length > 0 && selects(spec.selector, pod.labels);

function hostLines(workload: Workload, namespace: Namespace, { mesh }: Inquiry): readonly ExplanationLine[] {
  if (!mesh.knows("Service")) return [];
  const services = mesh
    .related(servicesOfNamespace, namespace)
    .filter((service) => selectsWorkload(service, workload))
    .toSorted(byName);
  if (services.length === 0)
    return [{ key: "hosts", text: "Hosts: no Service selects it; it is called by the address of a pod", value: 0 }];
  return [
    {
      key: "hosts",
      text: "Hosts that lead to it:",
      value: services.length,
      lines: services.map((service) =>
        objectLine("host", service, hostOfService(service, mesh.settings.domain), {
          value: hostOfService(service, mesh.settings.domain),
        }),
      ),
    },
  ];
}
