import { revisionReads } from "../mesh/objects/revision.ts";
import { type CelInput, celList, celMap, CelScalar, type CelType, listType, mapType } from "@bufbuild/cel";
import { type ExpressionType, listOf, textOf, types } from "../cel/expression-types.ts";
import { celMapOf } from "../cel/values.ts";
import type { BudgetExceeded } from "../engine/budget.ts";
import { absent, type Evidence } from "../engine/evidence.ts";
import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import { authorization } from "../mesh/authorization/effective-authorization.ts";
import { authorizationOfWorkload, defaultAnswer } from "../mesh/authorization/workload-authorization.ts";
import { captureOf, enrollmentOf, servedCaptureOf } from "../mesh/membership/capture.ts";
import { readers } from "../mesh/membership/control-plane.ts";
import { type Namespace, namespaceIn } from "../mesh/membership/namespaces.ts";
import { isProxy } from "../mesh/membership/workloads.ts";
import { planesOfNamespace } from "../mesh/mtls/effective-mtls.ts";
import { mtls } from "../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode } from "../mesh/mtls/peer-authentications.ts";
import { boundPorts, sidecarsOfPassing } from "../mesh/traffic/bound-ports.ts";
import { mtlsOfWorkload, weakestOf } from "../mesh/mtls/workload-mtls.ts";
import { selects } from "../mesh/objects/selectors.ts";
import { tlsModeOf } from "../mesh/client-tls/client-tls.ts";
import { usedDestinationRules } from "../mesh/traffic/destination-rule-choices.ts";
import { serviceNamespaces } from "../mesh/traffic/destination-rules.ts";
import { coveringHosts, covers, fullHost, namespaceOfHost } from "../mesh/traffic/hosts.ts";
import { usedVirtualService } from "../mesh/traffic/virtual-service-choices.ts";
import { routesOf, shareOf } from "../mesh/traffic/virtual-services.ts";
import {
  isUsable,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  waypointBindingOfWorkload,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
} from "../mesh/waypoints/bindings.ts";
import { globs } from "../text/globs.ts";
import type { Mesh, Reads } from "../view/view.ts";
import type { Reach } from "./reach.ts";

/** What is asked for a value that only an object can have which the view does not contain. */
class NotKnown extends Error {
  /** `the labels of Namespace shop`. */
  readonly what: string;
  constructor(what: string) {
    super(`${what} are not known`);
    this.what = what;
  }
}

/** One evaluation of an expression: the object that is checked, the mesh around it, and what the functions have read of it. */
export interface Asking {
  readonly object: AnyObject;
  readonly mesh: Mesh;
  readonly reach: Reach;
  readonly protectedNames: readonly string[];
  /** `key=value,key=value`, one for each policy. */
  readonly protectedLabels: readonly string[];
  readonly evidence: Set<Evidence>;
  notKnown: string | undefined;
  /** The budget of the review was exceeded in a function, which the CEL library takes for an error like any other. */
  exceeded: BudgetExceeded | undefined;
  /** What a function answered for the same arguments: routes to several subsets ask about one host again and again. */
  readonly answers: Map<string, CelInput>;
}

/** What a function takes: the object itself, a namespace or a host, and values. */
export type Argument = "object" | "namespace" | "host" | "port";

export interface MeshFunction {
  /** Without `mesh.`. */
  readonly name: string;
  readonly takes: readonly Argument[];
  readonly result: CelType;
  /** The same, with the fields and the values that it can have. */
  readonly resultType?: ExpressionType;
  /** One sentence: what it returns, and each value that it can have. */
  readonly summary: string;
  /** For `object`: the kinds that it is defined for. */
  readonly kinds?: readonly Kind[];
  /** The facts that it reads of the namespaces in reach, and of the object itself. */
  readonly reads: (kind: Kind, reach: Reach) => readonly Reads[];
  evaluate(asking: Asking, ...args: readonly unknown[]): CelInput;
}

const { STRING, BOOL, DYN } = CelScalar;
const record = mapType(STRING, DYN);
const complete = (title: string, fields: Readonly<Record<string, ExpressionType>>): ExpressionType => ({
  ...{ kind: "record", title, isComplete: true, names: Object.keys(fields) },
  field: (name) => (Object.hasOwn(fields, name) ? fields[name] : undefined),
});
const mtlsModes = textOf(["STRICT", "PERMISSIVE", "DISABLE", "none"]);
const withNamespaces = (facts: readonly Reads[]) => (_kind: Kind, reach: Reach) => [...reach.toNamespaces, ...facts];

const ofWorkloads = ["Workload"] as const;
const inMesh = ["Workload", "Namespace"] as const;
const behindWaypoints = ["Workload", "Service", "ServiceEntry", "Namespace"] as const;

/** All functions that know the mesh, which no other engine has. The reference in docs/custom-rules.md is generated from it. */
export const meshFunctions: readonly MeshFunction[] = [
  {
    name: "dataPlane",
    takes: ["object"],
    kinds: inMesh,
    result: STRING,
    resultType: textOf(["sidecar", "ambient", "none", "ambient-and-sidecar", "opted-out"]),
    summary:
      "The data plane that captures the traffic of a workload: `sidecar`, `ambient` or `none`. For a Namespace, how its labels enroll it: `sidecar`, `ambient`, `ambient-and-sidecar`, `opted-out` or `none`.",
    reads: withNamespaces(revisionReads),
    evaluate: (asking) => {
      const { object, mesh } = asking;
      if (object.kind === "Namespace") return enrollmentOf(object, mesh.settings);
      const capture = servedCaptureOf(object as ObjectOf<"Workload">, ownNamespace(asking), mesh.settings);
      return capture === "unknown" ? labelsNotKnown(object.metadata.namespace, asking) : capture;
    },
  },
  {
    name: "mtlsMode",
    takes: ["object"],
    kinds: inMesh,
    result: STRING,
    resultType: mtlsModes,
    summary:
      "The mTLS mode in effect for a workload, or for workloads of a Namespace that no policy selects: `STRICT`, `PERMISSIVE`, `DISABLE`, or `none` for a workload that is not in the mesh. The weakest, if several are possible.",
    reads: withNamespaces([mtls]),
    evaluate: (asking) => mtlsModeOf(asking, undefined),
  },
  {
    name: "mtlsMode",
    takes: ["object", "port"],
    kinds: ofWorkloads,
    result: STRING,
    resultType: mtlsModes,
    summary: "The same at one port of the pods of a workload.",
    reads: withNamespaces([mtls, sidecarsOfPassing]),
    evaluate: (asking, _object, port) => mtlsModeOf(asking, Number(port)),
  },
  {
    name: "deniesByDefault",
    takes: ["namespace"],
    result: BOOL,
    summary:
      "Whether the AuthorizationPolicies of a namespace and of the mesh deny requests that none of them allows, for workloads that no policy selects.",
    reads: withNamespaces([authorization]),
    evaluate: (asking, name) => {
      const namespace = namespaceOf(name, asking);
      const found = asking.mesh.get(authorization, namespace).ofLabels({});
      const by = [found.sealedBy, found.closedBy, found.deniedBy].filter((policy) => policy !== undefined);
      addEvidence(asking, by, absent("AuthorizationPolicy", namespace.metadata.name));
      return defaultAnswer(found) !== "open";
    },
  },
  {
    name: "deniesByDefault",
    takes: ["object"],
    kinds: ofWorkloads,
    result: BOOL,
    summary: "The same for one workload; false if it is not in the mesh, where no policy is enforced.",
    reads: withNamespaces([authorization]),
    evaluate: (asking) => {
      const namespace = ownNamespace(asking);
      const workload = asking.object as ObjectOf<"Workload">;
      if (captureOf(workload, namespace, asking.mesh.settings) === "unknown")
        return labelsNotKnown(namespace.metadata.name, asking);
      const { answer, coverage } = authorizationOfWorkload(
        workload,
        namespace,
        asking.mesh.get(authorization, namespace),
      );
      const by = [coverage.sealedBy, coverage.closedBy, coverage.deniedBy].filter((policy) => policy !== undefined);
      addEvidence(asking, by, absent("AuthorizationPolicy", namespace.metadata.name));
      return answer !== "open";
    },
  },
  {
    name: "isProtected",
    takes: ["namespace"],
    result: BOOL,
    summary: "Whether a MeshwardPolicy protects a namespace, by its name or its labels.",
    reads: withNamespaces([]),
    evaluate: (asking, name) => {
      const namespace = namespaceOf(name, asking);
      if (globs(asking.protectedNames).matches(namespace.metadata.name)) return true;
      if (asking.protectedLabels.length === 0) return false;
      if (namespace.implied) return labelsNotKnown(namespace.metadata.name, asking);
      asking.evidence.add(namespace);
      return asking.protectedLabels.some((text) => selects(labelsIn(text), namespace.metadata.labels));
    },
  },
  {
    name: "waypoint",
    takes: ["object"],
    kinds: behindWaypoints,
    result: STRING,
    summary:
      "The waypoint that processes requests to the object, as `namespace/name`; empty if there is none that works.",
    reads: (kind, reach) => [...reach.toNamespaces, waypointBinding, ...(ownWaypoints.get(kind) ?? [])],
    evaluate: (asking) => {
      const binding = bindingOf(asking);
      if (binding === undefined) return "";
      const { name, namespace } = binding.named;
      addEvidence(
        asking,
        binding.gateway === undefined ? [] : [binding.gateway],
        absent("KubernetesGateway", namespace, name),
      );
      return isUsable(binding) ? `${namespace}/${name}` : "";
    },
  },
  {
    name: "owner",
    takes: ["host"],
    result: STRING,
    summary:
      "The namespace of the Service with this host, or else of the ServiceEntry that defines it; empty if neither is known.",
    reads: (_kind, reach) => reach.toServiceEntries,
    evaluate: (asking, host) => ownerOf(hostOf(host, asking), asking) ?? "",
  },
  {
    name: "destinationRule",
    takes: ["host"],
    result: record,
    resultType: complete("the result of mesh.destinationRule()", {
      ...{ names: listOf(types.string), subsets: listOf(types.string) },
      tls: types.string,
    }),
    summary:
      "What the DestinationRules that clients in the namespace of the object use for a host set together: `names` (a list of `namespace/name`), `tls` (the mode for clients, or empty) and `subsets` (a list of names).",
    reads: (_kind, reach) => [...reach.toNamespaces, ...reach.toDestinationRules, ...reach.toServiceEntries, readers],
    evaluate: (asking, host) => destinationRuleOf(hostOf(host, asking), asking),
  },
  {
    name: "routes",
    takes: ["host"],
    result: listType(record),
    resultType: listOf(
      complete("a result of mesh.routes()", { host: types.string, subset: types.string, share: types.double }),
    ),
    summary:
      "The destinations to which sidecars in the namespace of the object send requests for a host, by the VirtualService that they use: a list of objects with `host`, `subset` (or empty) and `share` (in percent of its route). Empty without a VirtualService.",
    reads: (_kind, reach) => [...reach.toNamespaces, ...reach.toVirtualServices],
    evaluate: (asking, host) => routesFor(hostOf(host, asking), asking),
  },
];

const ownWaypoints: ReadonlyMap<Kind, readonly Reads[]> = new Map<Kind, readonly Reads[]>([
  ["Workload", [waypointOfWorkload]],
  ["Service", [waypointOfService]],
  ["ServiceEntry", [waypointOfServiceEntry]],
]);

function addEvidence({ evidence }: Asking, found: readonly Evidence[], otherwise: Evidence): void {
  for (const one of found.length > 0 ? found : [otherwise]) evidence.add(one);
}

function labelsNotKnown(namespace: string, asking: Asking): never {
  const what = `the labels of Namespace ${namespace}`;
  asking.notKnown ??= what;
  throw new NotKnown(what);
}

const ownNamespace = ({ object, mesh }: Asking): Namespace =>
  object.kind === "Namespace" ? object : namespaceIn(mesh, object.metadata.namespace);

const labelsIn = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(text.split(",").map((pair) => pair.split("=", 2) as [string, string]));

function namespaceOf(name: unknown, { object, mesh, reach }: Asking): Namespace {
  const named = String(name);
  if (reach.namespaces(object, mesh.settings).has(named)) return namespaceIn(mesh, named);
  throw new Error(
    `namespace ${JSON.stringify(named)} is neither that of ${idOf(object)}, nor one of its hosts, nor a constant in the expression`,
  );
}

function hostOf(host: unknown, { object, mesh, reach }: Asking): string {
  const { settings } = mesh;
  const full = fullHost(String(host), object.metadata.namespace, settings.domain).toLowerCase();
  if (reach.hosts(object, settings).has(full)) return full;
  throw new Error(
    `host ${JSON.stringify(String(host))} is neither one that ${idOf(object)} names, nor a constant in the expression`,
  );
}

function mtlsModeOf(asking: Asking, port: number | undefined): string {
  const { object, mesh } = asking;
  const namespace = ownNamespace(asking);
  const inNamespace = mesh.get(mtls, namespace);
  if (object.kind === "Namespace") {
    const modes = planesOfNamespace(namespace, mesh.settings).planes.map((plane) => inNamespace.wide(plane));
    return shownMode(weakestOf(modes), asking);
  }
  const workload = object as ObjectOf<"Workload">;
  if (isProxy(workload)) return "none";
  if (captureOf(workload, namespace, mesh.settings) === "unknown")
    return labelsNotKnown(namespace.metadata.name, asking);
  const { settings } = mesh;
  if (port === undefined) return shownMode(mtlsOfWorkload(workload, namespace, inNamespace, { settings }).mode, asking);
  const bound = boundPorts(workload, mesh);
  return shownMode(mtlsOfWorkload(workload, namespace, inNamespace, { settings, bound }).at(port).mode, asking);
}

function shownMode(mode: EffectiveMode | undefined, asking: Asking): string {
  if (mode === undefined) return "none";
  const { name } = ownNamespace(asking).metadata;
  addEvidence(asking, mode.by === undefined ? [] : [mode.by], absent("PeerAuthentication", name));
  return mode.mode;
}

function bindingOf(asking: Asking): WaypointBinding | undefined {
  const { object, mesh } = asking;
  const namespace = ownNamespace(asking);
  if (namespace.implied) return labelsNotKnown(namespace.metadata.name, asking);
  switch (object.kind) {
    case "Workload":
      return waypointBindingOfWorkload(object, namespace, mesh);
    case "Service":
      return waypointBindingOfService(object, namespace, mesh);
    case "ServiceEntry":
      return waypointBindingOfServiceEntry(object, namespace, mesh);
    default:
      return mesh.get(waypointBinding, namespace);
  }
}

const entriesFor = (host: string, { mesh, reach }: Asking): readonly ObjectOf<"ServiceEntry">[] => {
  const [relation] = reach.toServiceEntries;
  const found = relation === undefined ? [] : mesh.under(relation, coveringHosts(host));
  return found.filter(({ spec }) => spec.hosts.some((own) => covers(own, host)));
};

function ownerOf(host: string, asking: Asking): string | undefined {
  const { mesh, evidence } = asking;
  const own = namespaceOfHost(host, mesh.settings.domain);
  if (own !== undefined) return own;
  const entries = entriesFor(host, asking);
  for (const entry of entries) evidence.add(entry);
  const [first] = serviceNamespaces(host, entries, mesh.settings);
  return first;
}

function destinationRuleOf(host: string, asking: Asking): CelInput {
  const { mesh, reach, evidence } = asking;
  const [relation] = reach.toDestinationRules;
  const rules = relation === undefined ? [] : mesh.under(relation, coveringHosts(host));
  const namespace = ownNamespace(asking);
  const client = namespace.metadata.name;
  const controlPlane = mesh.get(readers, namespace).ofSidecar({});
  const destination = { client, controlPlane, host, namespace: ownerOf(host, asking) };
  const used = usedDestinationRules(destination, rules, mesh.settings).filter((one) => one !== undefined);
  const from = used.flatMap((merged) => merged.from);
  addEvidence(asking, from, absent("DestinationRule", client));
  for (const rule of from) evidence.add(rule);
  const tls = used.flatMap(({ trafficPolicy }) => (trafficPolicy?.tls ? [tlsModeOf(trafficPolicy.tls)] : []));
  return celMapOf([
    ["names", from.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)],
    ["tls", tls[0] ?? ""],
    ["subsets", used.flatMap(({ subsets }) => subsets.map(({ name }) => name))],
  ]);
}

function routesFor(host: string, asking: Asking): CelInput {
  const { mesh, reach, evidence } = asking;
  const [relation] = reach.toVirtualServices;
  const candidates = relation === undefined ? [] : mesh.under(relation, coveringHosts(host));
  const client = ownNamespace(asking).metadata.name;
  const used = usedVirtualService(client, host, candidates, mesh.settings);
  addEvidence(asking, used === undefined ? [] : [used], absent("VirtualService", client));
  if (used === undefined) return celList([]);
  evidence.add(used);
  const destinations = [...routesOf(used)].flatMap((route) =>
    route.destinations.map((weighted) =>
      celMap(
        new Map<string, CelInput>([
          ["host", fullHost(weighted.destination.host, used.metadata.namespace, mesh.settings.domain)],
          ["subset", weighted.destination.subset ?? ""],
          // A double, also if it is whole.
          ["share", Math.round(shareOf(weighted, route) * 1000) / 10],
        ]),
      ),
    ),
  );
  return celList(destinations);
}
