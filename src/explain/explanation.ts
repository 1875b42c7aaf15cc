import type { Kind } from "../kube/kinds.ts";
import { backendsOf } from "../mesh/client-tls/backends.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { hostIn } from "../mesh/traffic/host-definition.ts";
import type { Mesh } from "../view/view.ts";
import type { Explanation, ExplanationLine } from "../report/explanation.ts";
import { explainHost } from "./host.ts";
import { explainNamespace } from "./namespace.ts";
import { type InForce, protectionLine } from "./protection.ts";
import { explainStrict } from "./strict.ts";
import { reportedTarget, type Target, titleOf, workloadIn } from "./target.ts";
import { explainWorkload } from "./workload.ts";

/** The kinds that explanations use. */
const kindsNeeded: Readonly<Record<Target["kind"], readonly Kind[]>> = {
  namespace: ["Namespace", "Workload", "PeerAuthentication", "AuthorizationPolicy", "KubernetesGateway"],
  workload: ["Namespace", "Service", "PeerAuthentication", "AuthorizationPolicy", "KubernetesGateway"],
  host: [
    "Namespace",
    "Workload",
    "Service",
    "ServiceEntry",
    "VirtualService",
    "DestinationRule",
    "Sidecar",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "KubernetesGateway",
  ],
};

/** The input of an explanation. */
export interface ExplanationInput extends InForce {
  readonly mesh: Mesh;
}

/** Explains what applies to a target and why; `isStrict`: what would stop working if the namespace became STRICT. Never throws because of the content of objects. */
export function explanationOf(target: Target, input: ExplanationInput, isStrict = false): Explanation {
  const { mesh } = input;
  const unknown = kindsNeeded[target.kind].filter((kind) => !mesh.knows(kind));
  const title = titleOf(target, mesh);
  return {
    target: reportedTarget(target),
    title: isStrict ? `${title}, if it became STRICT` : title,
    lines: [...linesOf(target, input, isStrict), ...(isStrict ? [] : knowledgeLines(mesh, unknown))],
    unknown,
  };
}

function linesOf(target: Target, input: ExplanationInput, isStrict: boolean): readonly ExplanationLine[] {
  const { mesh } = input;
  if (target.kind === "host") return hostLines(target, input);
  if (target.kind === "workload") return workloadLines(target, input);
  const namespace = namespaceIn(mesh, target.name);
  if (isStrict) return explainStrict(namespace, mesh);
  return [...explainNamespace(namespace, mesh), protectionLine(namespace, namespace, input)];
}

function workloadLines(target: Target & { kind: "workload" }, input: ExplanationInput): readonly ExplanationLine[] {
  const { mesh } = input;
  const workload = workloadIn(mesh, target);
  if (workload === undefined) return [];
  const namespace = namespaceIn(mesh, target.namespace);
  return [...explainWorkload(workload, namespace, mesh), protectionLine(workload, namespace, input)];
}

function hostLines({ host, from }: Target & { kind: "host" }, input: ExplanationInput): readonly ExplanationLine[] {
  const { mesh } = input;
  const found = hostIn(mesh, host);
  const backends = backendsOf(found, from, mesh);
  const lines = explainHost(found, backends, from, mesh);
  const [backend] = backends;
  if (backend === undefined) return lines;
  return [...lines, protectionLine(found.service ?? backend.namespace, backend.namespace, input)];
}

/** The lines about unknown and assumed data. */
export function knowledgeLines({ settings }: Mesh, unknown: readonly Kind[]): readonly ExplanationLine[] {
  const shown = unknown.map((kind) => (kind.endsWith("y") ? `${kind.slice(0, -1)}ies` : `${kind}s`));
  return [
    ...(unknown.length > 0
      ? [{ key: "unknown", text: `Not known, because the mesh contains none: ${shown.join(", ")}`, value: unknown }]
      : []),
    ...(settings.seen
      ? []
      : [
          {
            key: "settings",
            text: `Assumed, because there is no mesh config: root namespace ${settings.rootNamespace}, domain ${settings.domain}, auto mTLS`,
            value: "assumed",
          },
        ]),
  ];
}
