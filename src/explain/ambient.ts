import { judge } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import { idOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { injectionLabel } from "../mesh/objects/labels.ts";
import { type AmbientWhatIf, ambientWhatIf } from "../mesh/waypoints/ambient-what-if.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import type { InForce } from "./protection.ts";
import { waypointLine } from "./waypoint.ts";

/** What would change if ztunnel captured the workloads of a namespace instead of sidecars, and what needs a waypoint. */
export function explainAmbient(
  namespace: Namespace,
  { mesh, rules, selection }: InForce & { readonly mesh: Mesh },
): readonly ExplanationLine[] {
  const whatIf = ambientWhatIf(namespace, mesh);
  const { name } = namespace.metadata;
  if (whatIf.now === "ambient")
    return [
      { key: "ambient.now", text: "It is ambient already", value: "ambient" },
      ...[waypointLine(whatIf.waypoint, true)].filter((line) => line !== undefined),
    ];
  const change = { old: namespace.implied ? undefined : namespace, object: whatIf.namespace };
  const { findings } = judge(rules, mesh, [change], { selection });
  const lost = lostLines(whatIf, name);
  const found = findings.filter(({ introduced, setting }) => introduced && setting.mode !== "off");
  return [
    nowLine(whatIf),
    needLine(whatIf, name),
    ...section("ambient.finding", "What Meshward's rules report of the change", found.map(findingLine)),
    ...lost,
    ...section(
      "ambient.sidecar",
      "Workloads that keep their sidecar, because of a label of their own",
      whatIf.keepingSidecars.map((one) => objectLine("ambient.workload", one, idOf(one))),
    ),
    ...section(
      "ambient.outside",
      "Workloads that stay outside the mesh",
      whatIf.outside.map((one) => objectLine("ambient.workload", one, idOf(one))),
    ),
    ...(found.length + lost.length === 0
      ? [{ key: "ambient.nothing", text: "Nothing in this mesh would stop working", value: true }]
      : []),
  ];
}

const enrolled: Readonly<Record<AmbientWhatIf["now"], string>> = {
  sidecar: "its pods get sidecars",
  ambient: "ztunnel captures its pods",
  "ambient-and-sidecar": "it has the labels of both data planes",
  none: "it is not in the mesh",
  "opted-out": "a label leaves it out of the mesh",
  unknown: "its labels are not known",
};

function nowLine({ now, namespace }: AmbientWhatIf): ExplanationLine {
  const isLeftOut = namespace.metadata.labels[injectionLabel] !== undefined;
  const labels = isLeftOut
    ? "labels istio.io/dataplane-mode=ambient and istio-injection=disabled, and without istio.io/rev"
    : "label istio.io/dataplane-mode=ambient, and without istio-injection and istio.io/rev";
  return { key: "ambient.now", text: `Now ${enrolled[now]}. Compared with the ${labels}`, value: now };
}

/** Whether something needs a waypoint, and how to get it. */
function needLine({ waypoint, hasWaypoint, forServices }: AmbientWhatIf, name: string): ExplanationLine {
  if (hasWaypoint) return waypointLine(waypoint, true) as ExplanationLine;
  const how = `istioctl waypoint apply --namespace ${name} --enroll-namespace`;
  const why =
    waypoint === undefined
      ? "the namespace names none"
      : `the one that it names, ${waypoint.named.namespace}/${waypoint.named.name}, is not usable`;
  return {
    key: "ambient.waypoint",
    text:
      forServices.length > 0
        ? `A waypoint is needed, and ${why}: ${how}`
        : `No waypoint: ${why}; ztunnel does not process HTTP. If policies or routes need it: ${how}`,
    value: forServices.length > 0 ? "needed" : "none",
  };
}

function lostLines({ forServices, forClients, forProxies, hasWaypoint }: AmbientWhatIf, name: string) {
  const line = (object: AnyObject) => objectLine("ambient.object", object, idOf(object));
  const ofServices = hasWaypoint
    ? "Routes and traffic policies for its Services, which the waypoint uses"
    : "Routes and traffic policies for its Services without effect, because only a waypoint uses them";
  return [
    ...section("ambient.services", ofServices, hasWaypoint ? [] : forServices.map(line)),
    ...section(
      "ambient.clients",
      `Routes and traffic policies for other hosts that clients in ${name} no longer use: waypoints of the destinations use only those of their own and the Service's namespace`,
      forClients.map(line),
    ),
    ...section(
      "ambient.proxies",
      "Configuration of sidecars without effect: ztunnel reads none of it, and a waypoint only what names it or a Service in targetRefs",
      forProxies.map(line),
    ),
  ];
}

function findingLine({ rule, subject, message, setting }: Finding): ExplanationLine {
  return {
    key: "ambient.rule",
    of: `${rule.id} ${idOf(subject)} ${message}`,
    text: `${setting.mode}: ${idOf(subject)}: ${message} (${rule.id})`,
    value: rule.id,
    objects: [subject],
  };
}

const section = (key: string, text: string, lines: readonly ExplanationLine[]): readonly ExplanationLine[] =>
  lines.length === 0 ? [] : [{ key, text: `${text}:`, value: lines.length, lines }];
