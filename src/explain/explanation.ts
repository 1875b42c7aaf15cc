import type { Kind } from "../kube/kinds.ts";
import { backendsOf } from "../mesh/client-tls/backends.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { hostIn } from "../mesh/traffic/host-definition.ts";
import type { Mesh } from "../view/view.ts";
import type { Explanation, ExplanationLine } from "../report/explanation.ts";
import { explainAmbient } from "./ambient.ts";
import { explainGateway } from "./gateway.ts";
import { explainHost } from "./host.ts";
import { explainKubernetesGateway } from "./kubernetes-gateway.ts";
import { explainNamespace } from "./namespace.ts";
import { type InForce, protectionLine } from "./protection.ts";
import { explainStrict } from "./strict.ts";
import { gatewaysNamed, reportedTarget, type Target, titleOf, workloadIn } from "./target.ts";
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
  gateway: ["Workload"],
};

/** The input of an explanation. */
export interface ExplanationInput extends InForce {
  readonly mesh: Mesh;
}

/** What is explained of a namespace: what applies, or what would stop working if it became STRICT or ambient. */
export type Question = "now" | "strict" | "ambient";

const suffixes: Readonly<Record<Question, string>> = {
  now: "",
  strict: ", if it became STRICT",
  ambient: ", if it became ambient",
};

/** Explains what applies to a target and why, or what the question asks. Never throws because of the content of objects. */
export function explanationOf(target: Target, input: ExplanationInput, question: Question = "now"): Explanation {
  const { mesh } = input;
  const unknown = kindsNeeded[target.kind].filter((kind) => !mesh.knows(kind));
  const title = titleOf(target, mesh);
  return {
    target: reportedTarget(target),
    title: `${title}${suffixes[question]}`,
    lines: [...linesOf(target, input, question), ...(question === "now" ? knowledgeLines(mesh, unknown) : [])],
    unknown,
  };
}

function linesOf(target: Target, input: ExplanationInput, question: Question): readonly ExplanationLine[] {
  const { mesh } = input;
  if (target.kind === "host") return hostLines(target, input);
  if (target.kind === "workload") return workloadLines(target, input);
  if (target.kind === "gateway") return gatewayLines(target, mesh);
  const namespace = namespaceIn(mesh, target.name);
  if (question === "strict") return explainStrict(namespace, mesh);
  if (question === "ambient") return explainAmbient(namespace, input);
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

/** Of two Gateways of one name, that of Istio comes first. */
function gatewayLines(target: Target & { kind: "gateway" }, mesh: Mesh): readonly ExplanationLine[] {
  const { ofIstio, ofKubernetes } = gatewaysNamed(mesh, target);
  const istio = ofIstio === undefined ? [] : explainGateway(ofIstio, mesh);
  const kubernetes = ofKubernetes === undefined ? [] : explainKubernetesGateway(ofKubernetes, mesh);
  if (istio.length === 0 || kubernetes.length === 0) return [...istio, ...kubernetes];
  return [
    { key: "api", of: "istio", text: "The Gateway of Istio (networking.istio.io)", lines: istio },
    { key: "api", of: "kubernetes", text: "The Gateway of the Gateway API", lines: kubernetes },
  ];
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
