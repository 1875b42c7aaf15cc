import { idOf } from "../kube/identity.ts";
import { captureOf, enrollmentOf } from "../mesh/membership/capture.ts";
import { interceptionOf, isIntercepted } from "../mesh/membership/interception.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload } from "../mesh/membership/workloads.ts";
import {
  everyPeerAuthenticationOfNamespace,
  type PeerAuthenticationChoice,
  peerAuthenticationChoices,
  type PeerAuthenticationLevel,
} from "../mesh/mtls/choices.ts";
import { atPort, mtlsOf, type Plane, planes, planesOf, planesOfNamespace } from "../mesh/mtls/effective-mtls.ts";
import { type EffectiveMode, isWide, type Modes } from "../mesh/mtls/peer-authentications.ts";
import { oldestFirst } from "../mesh/objects/creation-order.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Inquiry } from "./inquiry.ts";

const noPorts: ReadonlyMap<number, EffectiveMode> = new Map();
const shownPlane: Readonly<Record<Plane, string>> = { sidecar: "with a sidecar", ambient: "in ambient" };
const levels: Readonly<Record<PeerAuthenticationLevel, string>> = {
  mesh: "for the whole mesh",
  namespace: "for the namespace",
  workload: "for this workload",
};

/** The mode of workloads that no policy of the namespace selects, the policies behind it, and those that lost. */
export function namespaceMtlsLine(namespace: Namespace, { mesh }: Inquiry): ExplanationLine {
  const mtls = mtlsOf(namespace, mesh);
  const modes = (plane: Plane): Modes => ({ mode: mtls.wide(plane), ports: noPorts });
  const selecting = mesh
    .related(everyPeerAuthenticationOfNamespace, namespace)
    .filter((policy) => policy.metadata.namespace === namespace.metadata.name && !isWide(policy))
    .sort(oldestFirst)
    .map((policy) =>
      objectLine(
        "mtls.selecting",
        policy,
        `${idOf(policy)} is for workloads with ${formatLabels(policy.spec.selector?.matchLabels ?? {})} only`,
      ),
    );
  const line = mtlsLine(modes, planesOfNamespace(namespace).planes, [
    ...peerAuthenticationChoices(namespace, undefined, mesh).map(choiceLine),
    ...selecting,
  ]);
  if (!["none", "opted-out"].includes(enrollmentOf(namespace))) return line;
  return { ...line, text: line.text.replace("mTLS:", "mTLS, for what will be captured:") };
}

/** The mode of one workload, at each of its ports. */
export function workloadMtlsLine(workload: Workload, namespace: Namespace, { mesh }: Inquiry): ExplanationLine {
  const mtls = mtlsOf(namespace, mesh);
  const reach = planesOf(workload, namespace).planes;
  const choices = peerAuthenticationChoices(namespace, workload.pod.labels, mesh).map(choiceLine);
  const modes = (plane: Plane) => mtls.of(workload.pod.labels, plane);
  if (isProxy(workload))
    return {
      key: "mtls",
      text: "mTLS: its Gateway decides; PeerAuthentications do not count for proxies",
      value: "gateway",
    };
  if (captureOf(workload, namespace) === "none")
    return {
      key: "mtls",
      text: "mTLS: none: nothing captures its pods, so that they take plaintext and no mTLS",
      value: "none",
      lines: [
        ...planes.map((plane) => planeLine(plane, modes(plane), "would be")),
        ...choices.map((line) => ({ ...line, counts: false })),
      ],
    };
  return mtlsLine(modes, reach, [...portLines({ workload, namespace }, modes, reach), ...choices]);
}

/** What one plane says where there is one, or both agree; else each for itself. */
function mtlsLine(
  modes: (plane: Plane) => Modes,
  reach: readonly Plane[],
  lines: readonly ExplanationLine[],
): ExplanationLine {
  const [plane = "sidecar"] = reach;
  const { mode } = modes(plane);
  const others = planes.filter((other) => other !== plane && differs(modes(plane), modes(other)));
  const weakest = reach.map((one) => modes(one).mode).find((verdict) => verdict.mode !== "STRICT") ?? mode;
  return {
    key: "mtls",
    text: `mTLS: ${shownVerdict(mode)}${others.length > 0 && reach.length > 1 ? ` ${shownPlane[plane]}` : ""}`,
    value: weakest.mode,
    ...(mode.by ? { objects: [mode.by] } : {}),
    lines: [...others.map((other) => planeLine(other, modes(other))), ...lines],
  };
}

function planeLine(plane: Plane, { mode, ports }: Modes, verb = "is"): ExplanationLine {
  const atPorts = [...ports].map(([port, verdict]) => `; port ${port}: ${verdict.mode}`);
  return {
    key: "mtls.otherPlane",
    of: plane,
    text: `${shownPlane[plane]} it ${verb} ${shownVerdict(mode)}${atPorts.join("")}`,
    value: mode.mode,
  };
}

/** The annotation that leads a port of a captured pod past the mesh, if one does. */
export function passedBy(workload: Workload, namespace: Namespace, port: number): string | undefined {
  const capture = captureOf(workload, namespace);
  if (capture !== "sidecar" && capture !== "ambient") return undefined;
  const interception = interceptionOf(workload.pod, capture);
  return isIntercepted(interception, port) ? undefined : interception.by;
}

function portLines(
  { workload, namespace }: { readonly workload: Workload; readonly namespace: Namespace },
  modes: (plane: Plane) => Modes,
  reach: readonly Plane[],
): readonly ExplanationLine[] {
  const names = new Map(workload.pod.ports.map(({ number, name }) => [number, name]));
  const numbers = new Set([...names.keys(), ...reach.flatMap((plane) => [...modes(plane).ports.keys()])]);
  const past = (port: number) => passedBy(workload, namespace, port);
  return [...numbers]
    .sort((a, b) => a - b)
    .map((port) => {
      const name = names.get(port);
      const shownPort = `port ${port}${name === undefined ? "" : ` (${name})`}`;
      const by = past(port);
      if (by !== undefined) {
        const text = `${shownPort}: plaintext, whatever policies say: annotation ${by} leads it past the mesh`;
        return { key: "mtls.port", of: String(port), text, value: "none" };
      }
      const verdicts = reach.map((plane) => ({ plane, verdict: atPort(modes(plane), port) }));
      const [first] = verdicts;
      const isSame = verdicts.every(({ verdict }) => verdict.mode === first?.verdict.mode);
      const shown = isSame
        ? shownVerdict(first?.verdict as EffectiveMode)
        : verdicts.map(({ plane, verdict }) => `${shownVerdict(verdict)} ${shownPlane[plane]}`).join(", ");
      const unseen = names.size > 0 && !names.has(port) ? "; no container names this port" : "";
      const weakest = verdicts.find(({ verdict }) => verdict.mode !== "STRICT") ?? first;
      return {
        key: "mtls.port",
        of: String(port),
        text: `${shownPort}: ${shown}${unseen}`,
        value: weakest?.verdict.mode,
      };
    });
}

function differs(a: Modes, b: Modes): boolean {
  const ports = new Set([...a.ports.keys(), ...b.ports.keys()]);
  return a.mode.mode !== b.mode.mode || [...ports].some((port) => atPort(a, port).mode !== atPort(b, port).mode);
}

export function shownVerdict({ mode, by, isDropped }: EffectiveMode): string {
  if (by === undefined) return `${mode}: no PeerAuthentication sets a mode`;
  const dropped = isDropped ? ", of which ztunnel is given nothing, so that it refuses nobody" : "";
  return `${mode}, by ${idOf(by)}${dropped}`;
}

function choiceLine({ policy, level, outcome, by }: PeerAuthenticationChoice): ExplanationLine {
  const said = policy.spec.mtls?.mode ?? "no mode";
  const name = `${idOf(policy)} (${said}, ${levels[level]})`;
  const other = by === undefined ? "" : idOf(by);
  const age = policy.metadata.creationTimestamp ? "being as old" : "and nothing says which is older";
  const reasons: Readonly<Record<typeof outcome, string>> = {
    counts: "counts",
    "not-read": "does not count: no control plane serves its istio.io/rev",
    "root-selector": "does not count: in the root namespace a selector counts nowhere",
    younger: `does not count: ${other} is older`,
    "same-age": `does not count: ${other} comes first by its name, ${age}; ztunnel may take either`,
    unset: "sets nothing: what it inherits holds",
    overridden: `does not count here: ${other} is narrower`,
  };
  const more = { value: outcome, counts: outcome === "counts" };
  return objectLine("mtls.policy", policy, `${name} ${reasons[outcome]}`, more);
}
