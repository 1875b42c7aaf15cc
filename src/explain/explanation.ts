import type { Kind } from "../kube/kinds.ts";
import type { Mesh } from "../view/view.ts";
import type { Explanation, ExplanationLine } from "../report/explanation.ts";
import { explainHost, hostIn } from "./host.ts";
import { type Inquiry, namespaceIn, unknownKinds } from "./inquiry.ts";
import { explainNamespace } from "./namespace.ts";
import { explainStrict } from "./strict.ts";
import { reportedTarget, type Target, titleOf, workloadIn } from "./target.ts";
import { explainWorkload } from "./workload.ts";

/** What explanations rest on. */
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
    "PeerAuthentication",
    "AuthorizationPolicy",
    "KubernetesGateway",
  ],
};

/** What applies to a target and why; `isStrict`: what would break if the namespace became STRICT. Total: never throws for what objects say. */
export function explanationOf(target: Target, inquiry: Inquiry, isStrict = false): Explanation {
  const { mesh } = inquiry;
  const unknown = unknownKinds(mesh, kindsNeeded[target.kind]);
  const title = titleOf(target, mesh);
  return {
    target: reportedTarget(target),
    title: isStrict ? `${title}, if it became STRICT` : title,
    lines: [...linesOf(target, inquiry, isStrict), ...(isStrict ? [] : knowledgeLines(mesh, unknown))],
    unknown,
  };
}

function linesOf(target: Target, inquiry: Inquiry, isStrict: boolean): readonly ExplanationLine[] {
  const { mesh } = inquiry;
  if (target.kind === "host") return explainHost(hostIn(mesh, target.host), target.from, inquiry);
  if (target.kind === "workload") {
    const workload = workloadIn(mesh, target);
    return workload === undefined ? [] : explainWorkload(workload, namespaceIn(mesh, target.namespace), inquiry);
  }
  const namespace = namespaceIn(mesh, target.name);
  return isStrict ? explainStrict(namespace, inquiry) : explainNamespace(namespace, inquiry);
}

/** What the rest is worth. */
function knowledgeLines({ settings }: Mesh, unknown: readonly Kind[]): readonly ExplanationLine[] {
  const shown = unknown.map((kind) => (kind.endsWith("y") ? `${kind.slice(0, -1)}ies` : `${kind}s`));
  return [
    ...(unknown.length > 0
      ? [{ key: "unknown", text: `Not known, because the mesh shows none: ${shown.join(", ")}`, value: unknown }]
      : []),
    ...(settings.seen
      ? []
      : [
          {
            key: "settings",
            text: `Assumed, because the mesh shows no mesh config: root namespace ${settings.rootNamespace}, domain ${settings.domain}, auto mTLS`,
            value: "assumed",
          },
        ]),
  ];
}
