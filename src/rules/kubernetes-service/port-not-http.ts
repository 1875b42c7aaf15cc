import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type DecidesByHttp, decidingByHttp, lossesWithoutHttp } from "../../mesh/authorization/losses-without-http.ts";
import { targetRefsOf } from "../../mesh/authorization/policies.ts";
import type { RequestAuthentication } from "../../mesh/authorization/token-checks.ts";
import { declaredProtocol } from "../../mesh/membership/service-protocol.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { dataplaneMode } from "../../mesh/objects/labels.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { isWithoutAddress, waypointNamed } from "../../mesh/waypoints/bindings.ts";
import { isEntryPortOfTcp } from "../../mesh/gateways/tcp-ports.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { index, relation } from "../../view/view.ts";

/** A ServiceEntry and its namespace. */
const namespaceOfEntry = relation(
  "namespaceOfEntry",
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
  namespaceByName,
);

export const kubernetesServicePortNotHttp = defineRule({
  id: "kubernetes-service-port-not-http",
  subject: ["Service", "ServiceEntry"],
  reads: [namespaceOfService, namespaceOfEntry, ...decidingByHttp],
  worksWithout: ["AuthorizationPolicy", "RequestAuthentication", "Service", "ServiceEntry"],
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A port of a Service or a ServiceEntry is declared as TCP from now on, although policies decide there by attributes of HTTP.",
  why: "Where a port declares TCP, TLS or a database protocol, proxies do not parse HTTP (Istio pkg/config/kube/conversion.go ConvertProtocol). They drop ALLOW rules with attributes of HTTP and leave these out of DENY rules (pilot/pkg/security/authz/model/model.go Generate), ask no provider over HTTP (pilot/pkg/security/authz/builder/builder.go), and check no tokens (pilot/pkg/security/authn/policy_applier.go JwtFilter).",
  fix: "Declare the protocol that the port serves: a name that begins with `http` or `grpc`, or such an appProtocol, or the protocol `HTTP` in a ServiceEntry. If the port is TCP, write rules for it with callers and ports alone first.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "waypoint"],
    seen: "All connections to the port are closed by a DENY policy, or requests that a provider or the check of tokens refused before get answers. Routes for HTTP have no effect at the port.",
    wayOut: "Apply the previous version of the Service or the ServiceEntry.",
    silentWhen:
      "The Service, the ServiceEntry or the port is new, or the port was TCP before (authorization-policy-http-on-tcp); or the policies are in the root namespace. An older Service may decide for the same port of the pods.",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
  },

  *compare(before, after) {
    const { object } = after;
    const [namespace] =
      object.kind === "Service"
        ? after.mesh.related(namespaceOfService, object)
        : after.mesh.related(namespaceOfEntry, object);
    if (namespace === undefined || isTerminating(namespace)) return;
    const { made, first } = newlyTcp(before.object, object, namespace);
    if (made.length === 0 && first.length === 0) return;
    const losses = (ofPodsAlone: boolean) =>
      lossesWithoutHttp(namespace, after.mesh, (one) => isAttached(one, object, namespace, ofPodsAlone));
    for (const [ports, found] of [
      [made, losses(false)],
      [first, losses(true)],
    ] as const)
      for (const { at, what: isTcp, seenAs } of ports)
        for (const { by, what } of found.at(seenAs))
          yield { at, message: `${isTcp}, so ${idOf(by)} ${what}`, related: [by], evidence: [by] };
  },
});

type ServiceEntry = ObjectOf<"ServiceEntry">;
type Subject = Service | ServiceEntry;
type SeenAs = readonly string[] | "any";

interface TcpPort {
  readonly at: Problem["at"];
  /** A sentence: "Port 80 is no longer HTTP". */
  readonly what: string;
  /** The numbers that policies compare: waypoints have that of the Service, and sidecars that of the pods, if it is known. */
  readonly seenAs: SeenAs;
}

interface NewlyTcp {
  readonly made: readonly TcpPort[];
  /** For pods alone. */
  readonly first: readonly TcpPort[];
}

function newlyTcp(before: Subject, after: Subject, namespace: Namespace): NewlyTcp {
  if (before.kind === "ServiceEntry")
    return { made: after.kind === "ServiceEntry" ? entryPortsMadeTcp(before, after) : [], first: [] };
  if (after.kind === "ServiceEntry") return { made: [], first: [] };
  const isAmbient = namespace.metadata.labels[dataplaneMode] === "ambient";
  return { made: portsMadeTcp(before, after), first: isAmbient ? [] : portsMadeFirst(before, after) };
}

/** The same of a ServiceEntry, whose port has a number of its own for its waypoint. */
function entryPortsMadeTcp(before: ServiceEntry, after: ServiceEntry): readonly TcpPort[] {
  const old = new Map(before.spec.ports.map((port) => [port.number, port]));
  return after.spec.ports.flatMap((port, i) => {
    const was = old.get(port.number);
    const isHttp = was !== undefined && was.protocol?.toUpperCase() !== "UDP" && !isEntryPortOfTcp(was);
    if (!isHttp || port.number === undefined || !isEntryPortOfTcp(port)) return [];
    const what = `Port ${port.number} is no longer HTTP`;
    return [{ at: ["spec", "ports", i, "protocol"], what, seenAs: [String(port.number)] }];
  });
}

/** The ports that were HTTP, or of which a proxy found it out, and are declared as TCP. */
function portsMadeTcp(before: Service, after: Service): readonly TcpPort[] {
  const old = new Map(
    before.spec.ports.filter((port) => !isOfUdp(port)).map((port) => [port.port, declaredProtocol(port)]),
  );
  return after.spec.ports.flatMap((port, i) => {
    const was = old.get(port.port);
    const isMade = was !== undefined && was !== "TCP" && !isOfUdp(port) && declaredProtocol(port) === "TCP";
    if (!isMade || port.port === undefined) return [];
    return [
      {
        at: placeOf(port, i),
        what: `Port ${port.port} is no longer HTTP`,
        seenAs: numbersOf(port.port, port.targetPort),
      },
    ];
  });
}

type ServicePort = Service["spec"]["ports"][number];
const isOfUdp = ({ protocol }: ServicePort): boolean => protocol === "UDP";

const placeOf = ({ appProtocol }: ServicePort, i: number): Problem["at"] => [
  "spec",
  "ports",
  i,
  appProtocol === undefined ? "name" : "appProtocol",
];

/**
 * The ports that are TCP and decide from now on about a port of the pods that was HTTP. Of the ports of a Service that lead to the same
 * one, sidecars take the first (Istio pilot/pkg/serviceregistry/kube/controller/controller.go GetProxyServiceTargetsByPod,
 * pilot/pkg/networking/core/listener_inbound.go getFilterChainsByServicePort).
 */
function portsMadeFirst(before: Service, after: Service): readonly TcpPort[] {
  const old = firstByTarget(before);
  return [...firstByTarget(after)].flatMap(([target, { port, i }]) => {
    const was = old.get(target)?.port;
    if (was === undefined || was.port === port.port) return [];
    if (declaredProtocol(was) === "TCP" || declaredProtocol(port) !== "TCP") return [];
    const what = `Port ${port.port ?? 0} is TCP, and is the first one of the Service that leads to port ${target} of the pods`;
    return [{ at: placeOf(port, i), what, seenAs: typeof target === "string" ? "any" : [String(target)] }];
  });
}

function firstByTarget({
  spec,
}: Service): ReadonlyMap<number | string, { readonly port: ServicePort; readonly i: number }> {
  const first = new Map<number | string, { port: ServicePort; i: number }>();
  for (const [i, port] of spec.ports.entries()) {
    const target = port.targetPort ?? port.port ?? 0;
    if (!isOfUdp(port) && !first.has(target)) first.set(target, { port, i });
  }
  return first;
}

/** A target port that is a name stands for numbers that pods know, so policies for any port can be meant. */
const numbersOf = (port: number, target: number | string | undefined): SeenAs =>
  typeof target === "string" ? "any" : [...new Set([port, target ?? port])].map(String);

/** Whether the policy is for the Service or the ServiceEntry, for its waypoint, or for pods that a Service selects. */
function isAttached(object: DecidesByHttp, subject: Subject, namespace: Namespace, ofPodsAlone: boolean): boolean {
  const targets = object.kind === "AuthorizationPolicy" ? targetRefsOf(object) : refsOf(object);
  if (targets.length === 0) return subject.kind === "Service" && isForPods(object, subject);
  if (ofPodsAlone) return false;
  const { labels, name: own } = subject.metadata;
  const waypoint =
    waypointNamed(labels, object.metadata.namespace) ??
    waypointNamed(namespace.metadata.labels, namespace.metadata.name);
  return targets.some(({ kind, name }) => {
    if (kind === subject.kind) return name === own;
    if (kind !== "Gateway" || waypoint === undefined || waypoint === "none") return false;
    return waypoint.name === name && waypoint.namespace === object.metadata.namespace && isReachedThrough(subject);
  });
}

function isForPods({ spec }: DecidesByHttp, { spec: { selector } }: Service): boolean {
  const labels = spec.selector?.matchLabels ?? {};
  return Object.keys(selector).length > 0 && (selects(labels, selector) || selects(selector, labels));
}

/** A ServiceEntry without an address has no waypoint. */
const isReachedThrough = (subject: Subject): boolean => subject.kind === "Service" || !isWithoutAddress(subject);

const refsOf = ({ spec }: RequestAuthentication) =>
  spec.targetRefs.length === 0 && spec.targetRef !== undefined ? [spec.targetRef] : spec.targetRefs;
