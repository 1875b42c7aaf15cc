import { byId, idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { isHeadless, type Service, workloadsNearService } from "../../mesh/membership/services.ts";
import { mayGetRole, type Workload } from "../../mesh/membership/workloads.ts";
import {
  hasEndpoint,
  isOnlyForDns,
  labelsOfMachines,
  labelsOfWorkloadEntry,
  workloadGroupByLabel,
} from "../../mesh/membership/workload-entries.ts";
import { keysOfLabels } from "../../mesh/objects/label-keys.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { givenLabels } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

/** A Service and the WorkloadEntries of its namespace that have one label of its selector. */
const workloadEntriesNearService = relation(
  "workloadEntriesNearService",
  workloadsNearService.from,
  index("WorkloadEntry", (entry, settings) =>
    isServed(entry, settings) ? keysOfLabels(entry.metadata.namespace, labelsOfWorkloadEntry(entry)) : [],
  ),
);

/** A Service and the WorkloadGroups of its namespace whose machines have one label of its selector. */
const workloadGroupsNearService = relation(
  "workloadGroupsNearService",
  workloadsNearService.from,
  workloadGroupByLabel,
);

type Endpoint = Workload | ObjectOf<"WorkloadEntry"> | ObjectOf<"WorkloadGroup">;

/** What has one label of the selectors of some Services, gateways included, by its labels. */
const endpointsNearServices = fact(
  "endpointsNearServices",
  "key",
  [workloadsNearService, workloadEntriesNearService, workloadGroupsNearService],
  (key, mesh): Labelled<Endpoint> =>
    new Labelled<Endpoint>(
      [
        ...mesh.under(workloadsNearService, [key]),
        ...mesh.under(workloadEntriesNearService, [key]),
        ...mesh.under(workloadGroupsNearService, [key]),
      ],
      (one) => (one.kind === "Workload" ? one.pod.labels : labelsOfMachines(one)),
    ),
);
type View = MeshView<typeof endpointsNearServices>;

export const kubernetesServiceWithoutEndpoints = defineRule({
  id: "kubernetes-service-without-endpoints",
  subject: "Service",
  reads: [endpointsNearServices],
  worksWithout: ["WorkloadEntry", "WorkloadGroup"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary:
    "No known workload has the labels that a Service selects, or none of them has a port of the name that it leads to, so it has no endpoints; or a change takes its selector away, or leads a port to a number that no container declares.",
  why: "The endpoints of a Service are the pods that have every label of its selector. Without any, a sidecar or a waypoint answers 503 (`no healthy upstream`), and ztunnel refuses the connections. A label that is misspelt, or a version that was removed, leaves nothing that reports it. A targetPort that is a name is looked up among the ports that the containers declare, and a pod without it is no endpoint of that port (Kubernetes pkg/api/v1/pod FindPort). A number is taken as it is: one that no container declares, though they declare others, is most often one at which nothing listens. The endpoints of a Service whose selector is taken away stay as they are (pkg/controller/endpointslice/endpointslice_controller.go syncService). A WorkloadEntry whose address is a host name is an endpoint of ServiceEntries with resolution DNS alone; only ztunnel sends requests for a Service to it (Istio pilot/pkg/serviceregistry/serviceentry/conversion.go convertWorkloadEntryToWorkloadInstance).",
  fix: "Correct the labels of the selector: they are those of the pod template, not of the Deployment.",
  incident: {
    symptoms: ["no-endpoints"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Every request to the Service fails, and `kubectl get endpointslices` shows none with addresses.",
    wayOut: "Correct the selector or the targetPort, or apply the workload again that had these labels and this port.",
    silentWhen:
      "Not all workloads are known; the Service has no selector, is headless and does not lose its endpoints by another selector, is an ExternalName, or selects by a label of an operator, of a controller or of a Gateway, or by the role that Patroni gives to pods of a StatefulSet; or it is new and no workload has any part of the selector, because the workload may follow. A name of a port counts if any workload of the Service declares it, or if a WorkloadEntry or a WorkloadGroup is among them; the names of ports that the injector adds count always. The pods of a template count also if it is scaled to zero. A number is compared only where the Service changes it, and the one before was declared.",
    page: "https://kubernetes.io/docs/concepts/services-networking/service/",
  },

  *check(service, mesh) {
    // A Service is often applied before its workload, and it has a version only when it is stored.
    const isStored = service.metadata.resourceVersion !== undefined;
    const missing = missingIn({ object: service, mesh });
    if (missing !== undefined && (isStored || missing.near > 0)) yield problemOf(service, missing);
    yield* portsWithout(service, mesh);
  },

  *compare(before, after) {
    const missing = missingIn(after) ?? missingFromHeadless(before, after);
    if (missing !== undefined) {
      const isKnown = missingIn(before)?.labels === missing.labels;
      yield { ...problemOf(after.object, missing), ...(isKnown ? { existed: true } : {}) };
    }
    if (losesSelector(before, after.object)) yield withoutSelector;
    yield* portsNotDeclared(before, after);
    const now = [...portsWithout(after.object, after.mesh)];
    if (now.length === 0) return;
    const old = new Set(Array.from(portsWithout(before.object, before.mesh), ({ key }) => key));
    for (const problem of now) yield { ...problem, ...(old.has(problem.key) ? { existed: true } : {}) };
  },
});

interface Side {
  readonly object: Service;
  readonly mesh: View;
  /** Whether a headless Service is asked for its endpoints, too. Often it stands for pods of an operator, which are not known. */
  readonly isHeadlessToo?: boolean;
}

interface Missing {
  readonly labels: string;
  /** How many have a part of the labels. */
  readonly near: number;
  /** What has them and is no endpoint. */
  readonly unusable: readonly Endpoint[];
}

/** The labels that no workload has; undefined: some workload has them, or may have them. */
function missingIn(side: Side): Missing | undefined {
  const { object, mesh } = side;
  const near = nearTo(side);
  if (near === undefined) return undefined;
  const { selector } = object.spec;
  const selected = near.selected(selector);
  if (hasEndpoint(selected, isNoEndpoint, mesh)) return undefined;
  if (mayGetRole(selector, (some) => near.selected(some), mesh)) return undefined;
  return { labels: formatLabels(selector), near: near.all.length, unusable: selected };
}

/** Another selector takes all endpoints from a headless Service, which is not for pods that are not known then. */
function missingFromHeadless(before: Side, after: Side): Missing | undefined {
  const [old, now] = [before.object.spec, after.object.spec];
  if (
    before.object === after.object ||
    !isHeadless(after.object) ||
    formatLabels(old.selector) === formatLabels(now.selector)
  )
    return undefined;
  const had = nearTo({ ...before, isHeadlessToo: true })?.selected(old.selector) ?? [];
  return had.length > 0 ? missingIn({ ...after, isHeadlessToo: true }) : undefined;
}

const isNoEndpoint = (one: Endpoint): boolean => one.kind === "WorkloadEntry" && isOnlyForDns(one);

/** What may be selected; undefined: that is not known. */
function nearTo({ object, mesh, isHeadlessToo = false }: Side): Labelled<Endpoint> | undefined {
  const [key] = workloadsNearService.from.keys(object, mesh.settings);
  if (key === undefined || !mesh.knowsAll("Workload") || mayBeForUnknownPods(object)) return undefined;
  if (isHeadless(object) && !isHeadlessToo) return undefined;
  return mesh.get(endpointsNearServices, key);
}

/** The ports that lead to a name which no selected workload declares. */
function* portsWithout(service: Service, mesh: View): Iterable<Problem> {
  const named = service.spec.ports.flatMap(({ port = 0, protocol = "TCP", targetPort }, i) =>
    typeof targetPort === "string" && !ofInjector.has(targetPort) ? [{ port, protocol, name: targetPort, i }] : [],
  );
  if (named.length === 0) return;
  const selected = nearTo({ object: service, mesh })?.selected(service.spec.selector) ?? [];
  const declared = selected.length === 0 ? undefined : portsDeclared(selected, mesh);
  if (declared === undefined) return;
  const who = wordsFor(selected);
  for (const { port, protocol, name, i } of named)
    if (!declared.names.has(`${protocol} ${name}`))
      yield {
        at: ["spec", "ports", i, "targetPort"],
        message: `Port ${port} has no endpoints: no container of ${who} declares ${protocol === "TCP" ? "" : `${protocol} `}port "${name}"`,
        key: `${protocol} ${port} ${name}`,
        evidence: selected,
        related: selected.slice(0, 4),
        fix: "Write the number of the port, or a name that a container declares in `ports`. To rename a port, change the workload and the Service together.",
      };
}

/** Whether a Service that had endpoints selects nothing from now on. */
const losesSelector = (before: Side, { spec: { selector, type } }: Service): boolean =>
  Object.keys(selector).length === 0 && type !== "ExternalName" && selectedBy(before).length > 0;

const withoutSelector: Problem = {
  at: ["spec"],
  message:
    "The Service has no selector any more, so that Kubernetes no longer keeps its endpoints up to date: pods that are new get no requests",
  key: "no selector",
  fix: "Write the selector again. For a host outside the mesh, use a ServiceEntry.",
};

/** The ports that led to one which the containers declared by its number, and lead to one that they do not declare, though they declare others. */
function* portsNotDeclared(before: Side, after: Side): Iterable<Problem> {
  const numbers = numbersOf(before.object, after.object);
  const selected = numbers.length === 0 ? [] : selectedBy(after);
  const [declared, had] = [
    declaredAt(selected, after.mesh),
    declaredAt(numbers.length === 0 ? [] : selectedBy(before), before.mesh),
  ];
  if (declared === undefined || had === undefined) return;
  for (const { port, was, is, i } of numbers)
    if (had.numbers.has(was) && !declared.numbers.has(is))
      yield {
        at: ["spec", "ports", i],
        message: `Port ${port} leads to port ${is}, which no container of ${wordsFor(selected)} declares`,
        key: `${port} ${is}`,
        evidence: selected,
        related: selected.slice(0, 4),
        fix: "Write the port at which the application listens into `targetPort`, and into the `ports` of its container.",
      };
}

const selectedBy = (side: Side): readonly Endpoint[] => nearTo(side)?.selected(side.object.spec.selector) ?? [];

/** The ports of workloads, if they declare any. */
function declaredAt(selected: readonly Endpoint[], mesh: View): Declared | undefined {
  const declared = selected.length === 0 ? undefined : portsDeclared(selected, mesh);
  return declared === undefined || declared.numbers.size === 0 ? undefined : declared;
}

/** The ports that lead to another number than before. Where the pods get another port, the Service may follow. */
function numbersOf(before: Service, after: Service) {
  const old = new Map(before.spec.ports.map((one) => [one.port, targetOf(one)]));
  return after.spec.ports.flatMap((one, i) => {
    const [was, is] = [old.get(one.port), targetOf(one)];
    return typeof was === "number" && typeof is === "number" && was !== is ? [{ port: one.port, was, is, i }] : [];
  });
}
const targetOf = ({ port, targetPort }: Service["spec"]["ports"][number]): number | string | undefined =>
  targetPort || port;

function wordsFor(all: readonly Endpoint[]): string {
  const [first] = all.toSorted(byId);
  const others = all.length - 1;
  return [...(first ? [idOf(first)] : []), ...(others > 0 ? [`${others} other${others === 1 ? "" : "s"}`] : [])].join(
    " and ",
  );
}

/** The names in the injector's templates (Istio manifests/charts/istio-control/istio-discovery/files, injection-template.yaml and grpc-agent.yaml). */
const ofInjector: ReadonlySet<string> = new Set(["http-envoy-prom", "mesh-metrics"]);

interface Declared {
  /** Protocols and names. */
  readonly names: ReadonlySet<string>;
  readonly numbers: ReadonlySet<number | undefined>;
}
const declaredBy = new WeakMap<readonly Endpoint[], Declared | "unknown">();

/** The ports of workloads; undefined: a WorkloadEntry or a WorkloadGroup is among them. Many Services can select the same. */
function portsDeclared(all: readonly Endpoint[], mesh: View): Declared | undefined {
  let found = declaredBy.get(all);
  if (found === undefined) {
    mesh.visited(all.length);
    found = all.some(({ kind }) => kind !== "Workload")
      ? "unknown"
      : declaredIn(all.flatMap((one) => ("pod" in one ? one.pod.ports : [])));
    declaredBy.set(all, found);
  }
  return found === "unknown" ? undefined : found;
}
const declaredIn = (ports: Workload["pod"]["ports"]): Declared => ({
  names: new Set(ports.map(({ name, protocol = "TCP" }) => `${protocol} ${name}`)),
  numbers: new Set(ports.map((one) => one.number)),
});

const problemOf = ({ metadata: { namespace } }: Service, { labels, unusable }: Missing): Problem => ({
  at: ["spec", "selector"],
  message:
    unusable.length === 0
      ? `No workload in "${namespace}" has ${labels}, so the Service has no endpoints`
      : `Only WorkloadEntries whose address is no IP address have ${labels} in "${namespace}", so the Service has no endpoints`,
  evidence: [absentHere("Workload", namespace), ...unusable],
  ...(unusable.length === 0 ? {} : { related: unusable.slice(0, 4), fix: fixOfAddresses }),
});

const fixOfAddresses =
  "Write the IP address of the machine into the WorkloadEntry, or define its host with a ServiceEntry of resolution DNS that selects it.";

/**
 * Pods that operators make have labels under a domain of the operator, and their kinds are not known. Without a selector, endpoints are
 * written by hand.
 */
function mayBeForUnknownPods({ metadata, spec: { selector, type } }: Service): boolean {
  const keys = Object.keys(selector);
  if (keys.length === 0 || type === "ExternalName") return true;
  return metadata.deletionTimestamp !== undefined || keys.some(mayBeOfOperator);
}
const mayBeOfOperator = (key: string): boolean =>
  givenLabels.has(key) || (key.includes("/") && !isRecommended.test(key));
/** The labels that Kubernetes recommends for all applications. */
const isRecommended = /^app\.kubernetes\.io\//;
