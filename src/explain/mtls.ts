import { boundPorts } from "../mesh/traffic/bound-ports.ts";
import { idOf } from "../kube/identity.ts";
import { isEnrolled } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import {
  type PeerAuthenticationChoice,
  peerAuthenticationChoices,
  type PeerAuthenticationLevel,
  selectingPeerAuthentications,
} from "../mesh/mtls/choices.ts";
import { mtlsOf, type Plane, planes, planesOfNamespace } from "../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode, Modes } from "../mesh/mtls/peer-authentications.ts";
import { differ, mtlsOfWorkload, type PortMtls, weakestOf, type WorkloadMtls } from "../mesh/mtls/workload-mtls.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

const noPorts: ReadonlyMap<number, EffectiveMode> = new Map();
const shownPlane: Readonly<Record<Plane, string>> = { sidecar: "with a sidecar", ambient: "in ambient mode" };
const levels: Readonly<Record<PeerAuthenticationLevel, string>> = {
  mesh: "for the whole mesh",
  namespace: "for the namespace",
  workload: "for this workload",
};

/** The mode of workloads that no policy of the namespace selects, the policies that set it, and those without effect. */
export function namespaceMtlsLine(namespace: Namespace, mesh: Mesh): ExplanationLine {
  const mtls = mtlsOf(namespace, mesh);
  const selecting = selectingPeerAuthentications(namespace, mesh).map((policy) =>
    objectLine(
      "mtls.selecting",
      policy,
      `${idOf(policy)} is for workloads with ${formatLabels(policy.spec.selector?.matchLabels ?? {})} only`,
    ),
  );
  return mtlsLine(isEnrolled(namespace, mesh.settings) === false ? "mTLS, for future captured workloads" : "mTLS", {
    as: (plane) => ({ mode: mtls.wide(plane), ports: noPorts }),
    planes: planesOfNamespace(namespace, mesh.settings).planes,
    lines: [...peerAuthenticationChoices(namespace, undefined, mesh).map(choiceLine), ...selecting],
  });
}

/** The mode of one workload, at each of its ports. */
export function workloadMtlsLine(workload: Workload, namespace: Namespace, mesh: Mesh): ExplanationLine {
  const mtls = mtlsOfWorkload(workload, namespace, mtlsOf(namespace, mesh), {
    settings: mesh.settings,
    bound: boundPorts(workload, mesh),
  });
  const choices = peerAuthenticationChoices(namespace, workload.pod.labels, mesh).map(choiceLine);
  if (mtls.isProxy)
    return {
      key: "mtls",
      text: "mTLS: set by its Gateway; PeerAuthentications have no effect on proxies",
      value: "gateway",
    };
  if (mtls.mode === undefined)
    return {
      key: "mtls",
      text: "mTLS: none: its pods are not captured, so they accept plaintext and no mTLS",
      value: "none",
      lines: [
        ...planes.map((plane) => planeLine(plane, mtls.as(plane), "would be")),
        ...choices.map((line) => ({ ...line, counts: false })),
      ],
    };
  return mtlsLine("mTLS", {
    as: mtls.as,
    planes: mtls.planes,
    lines: [...mtls.ports.map((port) => portLine(port, mtls)), ...choices],
  });
}

interface ModesByPlane {
  readonly as: (plane: Plane) => Modes;
  readonly planes: readonly Plane[];
  readonly lines: readonly ExplanationLine[];
}

/** One line if there is one data plane or if both agree; otherwise one for each. */
function mtlsLine(what: string, { as, planes: judged, lines }: ModesByPlane): ExplanationLine {
  const [plane = "sidecar"] = judged;
  const { mode } = as(plane);
  const others = planes.filter((other) => other !== plane && differ(as(plane), as(other)));
  const weakest = weakestOf(judged.map((one) => as(one).mode)) ?? mode;
  return {
    key: "mtls",
    text: `${what}: ${shownMode(mode)}${others.length > 0 && judged.length > 1 ? ` ${shownPlane[plane]}` : ""}`,
    value: weakest.mode,
    ...(mode.by ? { objects: [mode.by] } : {}),
    lines: [...others.map((other) => planeLine(other, as(other))), ...lines],
  };
}

function planeLine(plane: Plane, { mode, ports }: Modes, verb = "is"): ExplanationLine {
  const atPorts = [...ports].map(([port, ofPort]) => `; port ${port}: ${ofPort.mode}`);
  return {
    key: "mtls.otherPlane",
    of: plane,
    text: `${shownPlane[plane]} it ${verb} ${shownMode(mode)}${atPorts.join("")}`,
    value: mode.mode,
  };
}

function portLine(
  { port, name, mode, byPlane, passedBy, isDeclared }: PortMtls,
  { ports }: WorkloadMtls,
): ExplanationLine {
  const of = String(port);
  const shownPort = `port ${port}${name === undefined ? "" : ` (${name})`}`;
  if (passedBy !== undefined) {
    const text = `${shownPort}: plaintext regardless of policies, because annotation ${passedBy} makes it bypass the mesh`;
    return { key: "mtls.port", of, text, value: "none" };
  }
  const [first, ...others] = byPlane;
  const isSame = others.every((other) => other.mode.mode === first?.mode.mode);
  const shown =
    isSame && first !== undefined
      ? shownMode(first.mode)
      : byPlane.map((one) => `${shownMode(one.mode)} ${shownPlane[one.plane]}`).join(", ");
  const unseen = !isDeclared && ports.some((other) => other.isDeclared) ? "; no container declares this port" : "";
  return { key: "mtls.port", of, text: `${shownPort}: ${shown}${unseen}`, value: mode?.mode };
}

export function shownMode({ mode, by, isDropped }: EffectiveMode): string {
  if (by === undefined) return `${mode}: no PeerAuthentication sets a mode`;
  const dropped = isDropped ? ", which istiod does not send to ztunnel, so ztunnel accepts plaintext" : "";
  return `${mode}, by ${idOf(by)}${dropped}`;
}

function choiceLine({ policy, level, outcome, by }: PeerAuthenticationChoice): ExplanationLine {
  const said = policy.spec.mtls?.mode ?? "no mode";
  const name = `${idOf(policy)} (${said}, ${levels[level]})`;
  const other = by === undefined ? "" : idOf(by);
  const age = policy.metadata.creationTimestamp ? `${other} is equally old` : "their ages are not known";
  const reasons: Readonly<Record<typeof outcome, string>> = {
    counts: "counts",
    "not-read":
      "has no effect: the control plane of these workloads does not read it (label istio.io/rev, or discoverySelectors), or it is being deleted",
    "root-selector": "has no effect: Istio ignores policies with a selector in the root namespace",
    younger: `has no effect: ${other} is older`,
    "same-age": `has no effect: ${age}, and ${other} comes first by name; ztunnel may use either`,
    unset: "sets no mode, so the inherited mode applies",
    overridden: `has no effect here: ${other} has a narrower scope`,
  };
  const more = { value: outcome, counts: outcome === "counts" };
  return objectLine("mtls.policy", policy, `${name} ${reasons[outcome]}`, more);
}
