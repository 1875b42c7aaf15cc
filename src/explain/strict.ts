import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import { type ObjectOf, readObject } from "../kube/object.ts";
import { fitOf } from "../mesh/client-tls/client-tls.ts";
import { hasProxies, type TlsPath, tlsPathsInto } from "../mesh/client-tls/paths.ts";
import { captureEvidence } from "../mesh/membership/capture-evidence.ts";
import { captureOf, enrollmentOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import { acceptsPlaintext, atPort, mtlsOf, planesOf } from "../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode } from "../mesh/mtls/peer-authentications.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import { overlay } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { byName, counted, type Inquiry, listed, namespaceIn } from "./inquiry.ts";
import { passedBy, shownVerdict } from "./mtls.ts";

type PeerAuthentication = ObjectOf<"PeerAuthentication">;

/** What would break if a namespace demanded mTLS of every caller, each with what to do about it. */
export function explainStrict(namespace: Namespace, { mesh }: Inquiry): readonly ExplanationLine[] {
  const wanted = strictPolicy(namespace, mesh);
  const strict = overlay(mesh, [wanted]);
  const workloads = mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => !isProxy(workload))
    .sort(byName);
  const opened = workloads.filter((workload) => isClosing(workload, namespace, mesh, strict));
  const breaking = [
    section("strict.client", "Clients outside the mesh, which know no certificates", clientLines(namespace, mesh)),
    section("strict.destinationRule", "DestinationRules that make clients send something else", [
      ...ruleLines(namespace, strict),
    ]),
  ].filter((line) => line !== undefined);
  const remaining = [
    section("strict.exempt", "Ports that stay exempt, by a policy or an annotation of their own", [
      ...exemptLines(workloads, namespace, strict),
    ]),
    section("strict.outside", "Workloads that nothing captures, for which STRICT changes nothing", [
      ...outsideLines(workloads, namespace),
    ]),
  ].filter((line) => line !== undefined);
  return [
    nowLine(namespace, opened, wanted, mesh),
    ...(breaking.length > 0
      ? breaking
      : [{ key: "strict.nothing", text: "Nothing would break that the mesh shows", value: true }]),
    ...remaining,
    unseenLine(mesh),
  ];
}

interface Wanted {
  readonly old: PeerAuthentication | undefined;
  readonly object: PeerAuthentication;
}

/** The policy for the namespace that counts, with STRICT; where there is none, a new one. */
function strictPolicy(namespace: Namespace, mesh: Mesh): Wanted {
  const { levels } = mtlsOf(namespace, mesh);
  const old = levels.isRoot ? levels.mesh[0] : levels.namespace[0];
  const { name } = namespace.metadata;
  const base = old ?? readObject("PeerAuthentication", { metadata: { name: "default", namespace: name } });
  return { old, object: { ...base, spec: { ...base.spec, mtls: { mode: "STRICT" } } } };
}

function nowLine(
  namespace: Namespace,
  opened: readonly Workload[],
  { old, object }: Wanted,
  mesh: Mesh,
): ExplanationLine {
  const mtls = mtlsOf(namespace, mesh);
  const isStrict = !acceptsPlaintext(mtls.wide("sidecar")) && !acceptsPlaintext(mtls.wide("ambient"));
  const how =
    old === undefined
      ? `a new PeerAuthentication ${object.metadata.namespace}/${object.metadata.name}`
      : `${idOf(old)} with mode STRICT`;
  const { isRoot } = mtls.levels;
  return {
    key: "strict.now",
    text: isStrict
      ? "It is STRICT already: what follows fails today"
      : `Now ${shownVerdict(mtls.wide("sidecar"))}; STRICT would come with ${how}`,
    value: isStrict ? "STRICT" : mtls.wide("sidecar").mode,
    lines: [
      ...(isRoot
        ? [
            {
              key: "strict.root",
              text: "It is the root namespace: a policy here is for the whole mesh, of which only this namespace is looked at",
            },
          ]
        : []),
      ...(opened.length > 0
        ? [
            {
              key: "strict.closing",
              text: `${counted(opened.length, "workload")} would refuse plaintext that ${opened.length === 1 ? "it takes" : "they take"} now: ${listed(opened)}`,
              objects: opened,
            },
          ]
        : []),
    ],
  };
}

const section = (key: string, text: string, lines: readonly ExplanationLine[]): ExplanationLine | undefined =>
  lines.length === 0 ? undefined : { key, text: `${text}: ${lines.length}`, value: lines.length, lines };

const todo = (text: string): readonly ExplanationLine[] => [{ key: "strict.todo", text: `do: ${text}` }];

/** The weakest mode of a workload at any port that it has; undefined: it is not in the mesh. */
function modesOf(workload: Workload, namespace: Namespace, mesh: Mesh): ReadonlyMap<number | "others", EffectiveMode> {
  const mtls = mtlsOf(namespace, mesh);
  const found = new Map<number | "others", EffectiveMode>();
  const isCaptured = captureOf(workload, namespace) !== "none";
  for (const plane of isCaptured ? planesOf(workload, namespace).planes : []) {
    const modes = mtls.of(workload.pod.labels, plane);
    const add = (port: number | "others", verdict: EffectiveMode) => {
      const there = found.get(port);
      if (there === undefined || acceptsPlaintext(verdict)) found.set(port, verdict);
    };
    add("others", modes.mode);
    for (const port of new Set([...modes.ports.keys(), ...workload.pod.ports.map(({ number }) => number)]))
      add(port, atPort(modes, port));
  }
  return found;
}

function isClosing(workload: Workload, namespace: Namespace, mesh: Mesh, strict: Mesh): boolean {
  const after = modesOf(workload, namespace, strict);
  return [...modesOf(workload, namespace, mesh)].some(([port, verdict]) => {
    const then = after.get(port);
    return acceptsPlaintext(verdict) && then !== undefined && !acceptsPlaintext(then);
  });
}

/** Of every other namespace: nobody says who calls whom, so that all that has no proxy may be a client. */
function* outsiders(namespace: Namespace, mesh: Mesh): Iterable<{ at: Namespace; workloads: readonly Workload[] }> {
  for (const at of mesh.all("Namespace")) {
    if (at.metadata.name === namespace.metadata.name) continue;
    const isOut = ["none", "opted-out"].includes(enrollmentOf(at));
    if (isOut && !mesh.knows("Workload")) yield { at, workloads: [] };
    const workloads = mesh
      .related(workloadsOfNamespace, at)
      .filter((workload) => !isProxy(workload) && captureOf(workload, at) === "none")
      .sort(byName);
    if (workloads.length > 0) yield { at, workloads };
  }
}

function clientLines(namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const own = mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => !isProxy(workload) && captureOf(workload, namespace) === "none")
    .sort(byName);
  const all = [...(own.length > 0 ? [{ at: namespace, workloads: own }] : []), ...outsiders(namespace, mesh)];
  return all
    .toSorted((a, b) => (a.at.metadata.name < b.at.metadata.name ? -1 : 1))
    .map(({ at, workloads }) => {
      const isEnrolled = !["none", "opted-out", "unknown"].includes(enrollmentOf(at));
      const { name } = at.metadata;
      const [first] = workloads;
      const why = first === undefined ? "it is not enrolled" : captureEvidence(first, at, "none");
      const what = isEnrolled
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
    });
}

/** The places whose clients would be refused, where any client may use them. */
function* ruleLines(namespace: Namespace, strict: Mesh): Iterable<ExplanationLine> {
  for (const path of [...tlsPathsInto(namespace, strict)].sort((a, b) => byName(a.rule, b.rule))) {
    const refusing = path.arrivals.filter(({ server }) => fitOf(path.tls, server?.mode) === "refused");
    const clients = [...path.clients]
      .flat()
      .filter((client) => client === "" || hasProxies(namespaceIn(strict, client), strict) !== false);
    if (refusing.length === 0 || clients.length === 0) continue;
    yield ruleLine(path, clients, [...new Set(refusing.map(({ destination }) => destination.host))]);
  }
}

function ruleLine(
  { rule, tls, choice }: TlsPath,
  clients: readonly string[],
  hosts: readonly string[],
): ExplanationLine {
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

function* exemptLines(workloads: readonly Workload[], namespace: Namespace, strict: Mesh): Iterable<ExplanationLine> {
  for (const workload of workloads)
    for (const [port, verdict] of modesOf(workload, namespace, strict)) {
      const by = port === "others" ? undefined : passedBy(workload, namespace, port);
      if (by !== undefined)
        yield objectLine(
          "strict.past",
          workload,
          `${idOf(workload)}: annotation ${by} leads port ${port} past the mesh`,
          {
            lines: todo("take the annotation away, if callers of the port can do without it"),
          },
        );
      if (!acceptsPlaintext(verdict) || by !== undefined) continue;
      const where = port === "others" ? "its ports" : `port ${port}`;
      yield {
        key: "strict.exempt",
        of: `${idOf(workload)} ${port}`,
        text: `${idOf(workload)}: ${where} would stay ${shownVerdict(verdict)}`,
        value: verdict.mode,
        objects: [workload, ...(verdict.by ? [verdict.by] : [])],
        lines: todo("nothing, if callers without a certificate need it; else take the exemption out of the policy"),
      };
    }
}

function* outsideLines(workloads: readonly Workload[], namespace: Namespace): Iterable<ExplanationLine> {
  for (const workload of workloads)
    if (captureOf(workload, namespace) === "none")
      yield objectLine(
        "strict.outside",
        workload,
        `${idOf(workload)}: ${captureEvidence(workload, namespace, "none")}`,
        { lines: todo("enroll it; until then it takes plaintext from everybody") },
      );
}

/** What decides whether something breaks, and no mesh shows or this one does not. */
function unseenLine(mesh: Mesh): ExplanationLine {
  const kinds: readonly Kind[] = ["Namespace", "Workload", "Service", "DestinationRule"];
  const missing = kinds.filter((kind) => mesh.knowledge(kind) === "unknown").map((kind) => `${kind}s`);
  const incomplete = kinds.filter((kind) => mesh.knowledge(kind) === "partial").map((kind) => `some ${kind}s`);
  const unlabelled = [...mesh.all("Namespace")].filter(({ implied }) => implied).map(({ metadata }) => metadata.name);
  const labels = unlabelled.length === 0 ? [] : [`the labels of namespaces ${shortened(unlabelled.sort())}`];
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

const mostNames = 5;
const shortened = (names: readonly string[]): string =>
  `${names.slice(0, mostNames).join(", ")}${names.length > mostNames ? ` and ${names.length - mostNames} more` : ""}`;
