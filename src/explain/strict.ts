import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import {
  type ClientsOutside,
  type HidingNamespace,
  type RefusedPath,
  type StaysOpen,
  type StrictWhatIf,
  strictWhatIf,
} from "../mesh/client-tls/strict-what-if.ts";
import { writtenBy } from "../mesh/client-tls/paths.ts";
import { captureEvidence } from "../mesh/membership/capture-evidence.ts";
import { isEnrolled } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { shownMode } from "./mtls.ts";
import { counted, listed, listedNames } from "./wording.ts";

/** The connections that would fail if a namespace required mTLS of every caller, each with a fix. */
export function explainStrict(namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const whatIf = strictWhatIf(namespace, mesh);
  const breaking = [
    section(
      "strict.client",
      "Clients outside the mesh, which have no certificates",
      whatIf.clients.map((clients) => clientsLine(clients, mesh)),
    ),
    section(
      "strict.destinationRule",
      whatIf.paths.some(({ choice }) => choice.policy !== undefined)
        ? "DestinationRules and BackendTLSPolicies that make clients use other TLS settings"
        : "DestinationRules that make clients use other TLS settings",
      whatIf.paths.map(pathLine),
    ),
    section(
      "strict.hidden",
      "Namespaces whose Sidecars do not import services of this namespace, so that calls to these are plaintext past the mesh",
      whatIf.hiding.map(hidingLine),
    ),
  ].filter((line) => line !== undefined);
  const remaining = [
    section(
      "strict.exempt",
      "Ports that remain exempt because of a policy or an annotation",
      whatIf.open.map(openLine),
    ),
    section(
      "strict.outside",
      "Workloads that are not captured, for which STRICT changes nothing",
      whatIf.outside.map((workload) => outsideLine(workload, namespace, mesh)),
    ),
  ].filter((line) => line !== undefined);
  return [
    nowLine(whatIf),
    ...(breaking.length > 0
      ? breaking
      : [{ key: "strict.nothing", text: "No connection in this mesh would fail", value: true }]),
    ...remaining,
    unseenLine(whatIf, mesh),
  ];
}

function nowLine({ now, isStrict, isRoot, policy, old, closing }: StrictWhatIf): ExplanationLine {
  const { namespace, name } = policy.metadata;
  const how = old === undefined ? `a new PeerAuthentication ${namespace}/${name}` : `${idOf(old)} with mode STRICT`;
  return {
    key: "strict.now",
    text: isStrict
      ? "It is STRICT already: the following connections fail now"
      : `Current mode: ${shownMode(now)}; it would become STRICT with ${how}`,
    value: isStrict ? "STRICT" : now.mode,
    lines: [
      ...(isRoot
        ? [
            {
              key: "strict.root",
              text: "It is the root namespace: a policy here applies to the whole mesh, but only this namespace is checked",
            },
          ]
        : []),
      ...(closing.length > 0
        ? [
            {
              key: "strict.closing",
              text: `${counted(closing.length, "workload")} would refuse plaintext that ${closing.length === 1 ? "it accepts" : "they accept"} now: ${listed(closing)}`,
              objects: closing,
            },
          ]
        : []),
    ],
  };
}

const section = (key: string, text: string, lines: readonly ExplanationLine[]): ExplanationLine | undefined =>
  lines.length === 0 ? undefined : { key, text: `${text}: ${lines.length}`, value: lines.length, lines };

const todo = (text: string): readonly ExplanationLine[] => [{ key: "strict.todo", text: `do: ${text}` }];

function clientsLine({ namespace, workloads }: ClientsOutside, mesh: Mesh): ExplanationLine {
  const { name } = namespace.metadata;
  const [first] = workloads;
  const why =
    first === undefined ? "it is not enrolled" : captureEvidence(first, { namespace, settings: mesh.settings }, "none");
  const what = isEnrolled(namespace, mesh.settings)
    ? `add the workloads in ${name} to the mesh, or stop their calls to this namespace`
    : `enroll namespace ${name} (istio.io/dataplane-mode=ambient), or stop its calls to this namespace`;
  return {
    key: "strict.client",
    of: name,
    text: `namespace ${name}: ${first === undefined ? "all workloads in it" : listed(workloads)} (${why})`,
    value: workloads.length,
    objects: workloads,
    lines: todo(what),
  };
}

const ofRule = "set tls.mode to ISTIO_MUTUAL, or remove tls to use auto mTLS";
const ofPolicy = "delete the policy to use auto mTLS, or keep its port PERMISSIVE if the application ends this TLS";

function pathLine(path: RefusedPath): ExplanationLine {
  const { tls, choice, clients, hosts } = path;
  const named = clients.filter((client) => client !== "").sort();
  const who = [...named, ...(clients.includes("") ? ["every namespace without its own DestinationRule"] : [])].join(
    ", ",
  );
  const where = [
    ...(choice.subset === undefined ? [] : [`subset ${choice.subset}`]),
    ...(choice.port === undefined ? [] : [`port ${choice.port}`]),
  ].join(" ");
  const by = writtenBy(path);
  const sent =
    tls === "plaintext"
      ? by.kind === "DestinationRule"
        ? "plaintext (tls DISABLE, or no mode)"
        : "plaintext"
      : "their own TLS (SIMPLE or MUTUAL)";
  return objectLine(
    "strict.destinationRule",
    by,
    `${idOf(by)}${where === "" ? "" : `, ${where}`}: clients in ${who} send ${sent} to ${[...hosts].sort().join(", ")}`,
    { value: tls, lines: todo(by.kind === "DestinationRule" ? ofRule : ofPolicy) },
  );
}

const hidingLine = ({ namespace, services }: HidingNamespace): ExplanationLine => ({
  key: "strict.hidden",
  of: namespace.metadata.name,
  text: `namespace ${namespace.metadata.name}: ${listed(services)}`,
  value: services.map(({ metadata }) => metadata.name),
  objects: services,
  lines: todo(`if workloads in ${namespace.metadata.name} call them, import their hosts in its Sidecars`),
});

function openLine(open: StaysOpen): ExplanationLine {
  const { workload, port } = open;
  if ("passedBy" in open)
    return objectLine(
      "strict.past",
      workload,
      `${idOf(workload)}: annotation ${open.passedBy} makes port ${port} bypass the mesh`,
      { lines: todo("remove the annotation, if callers of the port do not need it") },
    );
  const { mode } = open;
  return {
    key: "strict.exempt",
    of: `${idOf(workload)} ${port}`,
    text: `${idOf(workload)}: ${port === "others" ? "its ports" : `port ${port}`} would stay ${shownMode(mode)}`,
    value: mode.mode,
    objects: [workload, ...(mode.by ? [mode.by] : [])],
    lines: todo("nothing, if callers without a certificate need it; otherwise remove the exemption from the policy"),
  };
}

function outsideLine(workload: Workload, namespace: Namespace, { settings }: Mesh): ExplanationLine {
  const why = captureEvidence(workload, { namespace, settings }, "none");
  return objectLine("strict.outside", workload, `${idOf(workload)}: ${why}`, {
    lines: todo("enroll it; until then it accepts plaintext from every caller"),
  });
}

/** Data that decides whether connections fail, and that this mesh, or any mesh, does not contain. */
function unseenLine({ unlabelled }: StrictWhatIf, mesh: Mesh): ExplanationLine {
  const kinds: readonly Kind[] = ["Namespace", "Workload", "Service", "DestinationRule"];
  const missing = kinds.filter((kind) => mesh.knowledge(kind) === "unknown").map((kind) => `${kind}s`);
  const incomplete = kinds.filter((kind) => mesh.knowledge(kind) === "partial").map((kind) => `some ${kind}s`);
  const noun = unlabelled.length === 1 ? "namespace" : "namespaces";
  const labels = unlabelled.length === 0 ? [] : [`the labels of ${noun} ${listedNames(unlabelled)}`];
  const always = [
    "the actual callers",
    "callers outside the cluster",
    "webhooks and APIServices that the API server calls",
    "pods that were created before their namespace was enrolled",
  ];
  return {
    key: "strict.unknown",
    text: `Not known: ${[...missing, ...incomplete, ...labels, ...always].join(", ")}`,
    value: [...missing, ...incomplete],
  };
}
