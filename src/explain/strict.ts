import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import {
  type ClientsOutside,
  type RefusedPath,
  type StaysOpen,
  type StrictWhatIf,
  strictWhatIf,
} from "../mesh/client-tls/strict-what-if.ts";
import { captureEvidence } from "../mesh/membership/capture-evidence.ts";
import { isEnrolled } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { shownMode } from "./mtls.ts";
import { counted, listed, listedNames } from "./wording.ts";

/** What would break if a namespace demanded mTLS of every caller, each with what to do about it. */
export function explainStrict(namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const whatIf = strictWhatIf(namespace, mesh);
  const breaking = [
    section(
      "strict.client",
      "Clients outside the mesh, which know no certificates",
      whatIf.clients.map((clients) => clientsLine(clients)),
    ),
    section(
      "strict.destinationRule",
      "DestinationRules that make clients send something else",
      whatIf.paths.map(pathLine),
    ),
  ].filter((line) => line !== undefined);
  const remaining = [
    section(
      "strict.exempt",
      "Ports that stay exempt, by a policy or an annotation of their own",
      whatIf.open.map(openLine),
    ),
    section(
      "strict.outside",
      "Workloads that nothing captures, for which STRICT changes nothing",
      whatIf.outside.map((workload) => outsideLine(workload, namespace)),
    ),
  ].filter((line) => line !== undefined);
  return [
    nowLine(whatIf),
    ...(breaking.length > 0
      ? breaking
      : [{ key: "strict.nothing", text: "Nothing would break that the mesh shows", value: true }]),
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
      ? "It is STRICT already: what follows fails today"
      : `Now ${shownMode(now)}; STRICT would come with ${how}`,
    value: isStrict ? "STRICT" : now.mode,
    lines: [
      ...(isRoot
        ? [
            {
              key: "strict.root",
              text: "It is the root namespace: a policy here is for the whole mesh, of which only this namespace is looked at",
            },
          ]
        : []),
      ...(closing.length > 0
        ? [
            {
              key: "strict.closing",
              text: `${counted(closing.length, "workload")} would refuse plaintext that ${closing.length === 1 ? "it takes" : "they take"} now: ${listed(closing)}`,
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

function clientsLine({ namespace, workloads }: ClientsOutside): ExplanationLine {
  const { name } = namespace.metadata;
  const [first] = workloads;
  const why = first === undefined ? "it is not enrolled" : captureEvidence(first, namespace, "none");
  const what = isEnrolled(namespace)
    ? `take the workloads in ${name} into the mesh, or let them not call this namespace`
    : `enroll namespace ${name} (istio.io/dataplane-mode=ambient), or let it not call this namespace`;
  return {
    key: "strict.client",
    of: name,
    text: `namespace ${name}: ${first === undefined ? "whatever runs there" : listed(workloads)} (${why})`,
    value: workloads.length,
    objects: workloads,
    lines: todo(what),
  };
}

function pathLine({ rule, tls, choice, clients, hosts }: RefusedPath): ExplanationLine {
  const named = clients.filter((client) => client !== "").sort();
  const who = [...named, ...(clients.includes("") ? ["any namespace without one of its own"] : [])].join(", ");
  const where = [
    ...(choice.subset === undefined ? [] : [`subset ${choice.subset}`]),
    ...(choice.port === undefined ? [] : [`port ${choice.port}`]),
  ].join(" ");
  const sent = tls === "plaintext" ? "plaintext (tls DISABLE, or no mode)" : "TLS of their own (SIMPLE or MUTUAL)";
  return objectLine(
    "strict.destinationRule",
    rule,
    `${idOf(rule)}${where === "" ? "" : `, ${where}`}: clients in ${who} send ${sent} to ${[...hosts].sort().join(", ")}`,
    { value: tls, lines: todo("set tls.mode to ISTIO_MUTUAL, or take tls out so that it is automatic") },
  );
}

function openLine(open: StaysOpen): ExplanationLine {
  const { workload, port } = open;
  if ("passedBy" in open)
    return objectLine(
      "strict.past",
      workload,
      `${idOf(workload)}: annotation ${open.passedBy} leads port ${port} past the mesh`,
      { lines: todo("take the annotation away, if callers of the port can do without it") },
    );
  const { mode } = open;
  return {
    key: "strict.exempt",
    of: `${idOf(workload)} ${port}`,
    text: `${idOf(workload)}: ${port === "others" ? "its ports" : `port ${port}`} would stay ${shownMode(mode)}`,
    value: mode.mode,
    objects: [workload, ...(mode.by ? [mode.by] : [])],
    lines: todo("nothing, if callers without a certificate need it; else take the exemption out of the policy"),
  };
}

const outsideLine = (workload: Workload, namespace: Namespace): ExplanationLine =>
  objectLine("strict.outside", workload, `${idOf(workload)}: ${captureEvidence(workload, namespace, "none")}`, {
    lines: todo("enroll it; until then it takes plaintext from everybody"),
  });

/** What decides whether something breaks, and no mesh shows or this one does not. */
function unseenLine({ unlabelled }: StrictWhatIf, mesh: Mesh): ExplanationLine {
  const kinds: readonly Kind[] = ["Namespace", "Workload", "Service", "DestinationRule"];
  const missing = kinds.filter((kind) => mesh.knowledge(kind) === "unknown").map((kind) => `${kind}s`);
  const incomplete = kinds.filter((kind) => mesh.knowledge(kind) === "partial").map((kind) => `some ${kind}s`);
  const labels = unlabelled.length === 0 ? [] : [`the labels of namespaces ${listedNames(unlabelled)}`];
  const always = [
    "who really calls",
    "callers outside the cluster",
    "webhooks and APIServices that the API server calls",
    "pods made before their namespace was enrolled",
  ];
  return {
    key: "strict.unknown",
    text: `Not known: ${[...missing, ...incomplete, ...labels, ...always].join(", ")}`,
    value: [...missing, ...incomplete],
  };
}
