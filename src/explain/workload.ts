import { byId } from "../kube/identity.ts";
import { captureOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { servicesOfWorkload } from "../mesh/membership/services.ts";
import { controllerOf } from "../mesh/membership/owners.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { hostOfService } from "../mesh/traffic/hosts.ts";
import { waypointBindingOfWorkload } from "../mesh/waypoints/bindings.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { AllMeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";
import { workloadAuthorizationLine } from "./authorization.ts";
import { controlPlaneLinesOfWorkload } from "./control-plane.ts";
import { captureLine } from "./enrollment.ts";
import { workloadMtlsLine } from "./mtls.ts";
import { workloadTelemetryLines } from "./telemetry.ts";
import { waypointLine } from "./waypoint.ts";

/** Explains one workload. */
export function explainWorkload(workload: Workload, namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const isAmbient = captureOf(workload, namespace, mesh.settings) === "ambient";
  return [
    ...ownerLines(workload),
    captureLine(workload, namespace, mesh),
    ...controlPlaneLinesOfWorkload(workload, namespace, mesh),
    identityLine(workload, mesh.settings),
    waypointLine(waypointBindingOfWorkload(workload, namespace, mesh), isAmbient),
    workloadMtlsLine(workload, namespace, mesh),
    workloadAuthorizationLine(workload, namespace, mesh),
    ...workloadTelemetryLines(workload, namespace, mesh),
    ...hostLines(workload, namespace, mesh),
  ].filter((line) => line !== undefined);
}

function ownerLines(workload: Workload): readonly ExplanationLine[] {
  const owner = controllerOf(workload);
  if (owner === undefined) return [];
  return [{ key: "owner", text: `Created by ${owner.kind} ${owner.name}, which sets its labels`, value: owner.name }];
}

/** Istio pkg/spiffe/spiffe.go GenSpiffeURI, as AuthorizationPolicies write it. */
function identityLine({ metadata, pod }: Workload, { trustDomain }: AllMeshSettings): ExplanationLine {
  const identity = `${trustDomain}/ns/${metadata.namespace}/sa/${pod.serviceAccountName}`;
  return { key: "identity", text: `Identity as a client: ${identity}`, value: identity };
}

function hostLines(workload: Workload, namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  if (!mesh.knows("Service")) return [];
  const services = servicesOfWorkload(workload, namespace, mesh).toSorted(byId);
  if (services.length === 0)
    return [
      {
        key: "hosts",
        text: "Hosts: none, because no Service selects it; clients use the addresses of its pods",
        value: 0,
      },
    ];
  return [
    {
      key: "hosts",
      text: "Hosts:",
      value: services.length,
      lines: services.map((service) =>
        objectLine("host", service, hostOfService(service, mesh.settings.domain), {
          value: hostOfService(service, mesh.settings.domain),
        }),
      ),
    },
  ];
}
