import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { enrollmentOf, unknownCapture } from "../../mesh/membership/capture.ts";
import type { InjectorSettings } from "../../mesh/membership/injector-selectors.ts";
import { captured } from "../../mesh/membership/captured.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { declaredProtocol, parsedProtocol } from "../../mesh/membership/service-protocol.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { waypointNamed } from "../../mesh/waypoints/bindings.ts";
import { index, type MeshView, relation, setting } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A Service with a port for which the wrong protocol is declared, as far as it shows, and its namespace. */
const namespaceOfWrongPort = relation(
  "namespaceOfWrongPort",
  index("Service", (service) => (wrongPorts(service).length === 0 ? [] : [service.metadata.namespace])),
  namespaceByName,
);

const reads = [namespaceOfWrongPort, captured, setting("outboundTrafficPolicy")] as const;
type View = MeshView<(typeof reads)[number]>;

export const portProtocolWrong = defineRule({
  id: "port-protocol-wrong",
  subject: ["Service", "ServiceEntry"],
  reads,
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  // Any program can listen at any port. Kafka's 9092 is left out, because metrics are often served there.
  stage: "trial",
  tags: ["mtls"],
  summary:
    "The port of a database or of a mail server is declared as HTTP, or as nothing although its server speaks first.",
  why: "Where HTTP or nothing is declared, the sidecar of a client waits for the first bytes to see whether they are HTTP (Istio pilot/pkg/networking/core/listener.go buildSidecarOutboundListener, pkg/config/kube/conversion.go ConvertProtocol). A client of MySQL, SMTP or SSH sends none before the server has, so that both wait. Other bytes pass by all that is declared for the port, to the address that the client asked for, without mTLS, and with REGISTRY_ONLY they are refused (buildOutboundCatchAllNetworkFiltersOnly). The sidecar of the server, or a waypoint, looks for HTTP alone and answers 400 (pilot/pkg/networking/core/listener_inbound.go). Only the ports 25, 53, 3306 and 27017 of Services are TCP without a declaration.",
  fix: "Declare the port as TCP: `appProtocol: tcp`, or a name that begins with `tcp`; in a ServiceEntry `protocol: TCP`.",
  incident: {
    symptoms: ["reset", "backend-error"],
    proxies: ["sidecar"],
    seen: "Clients with a sidecar get `unexpected EOF`, `malformed packet` or a timeout while they connect to the database; the access log shows 400 with `DPE`. Clients without a sidecar connect.",
    wayOut: "Set `appProtocol: tcp` on the port. Proxies use it within seconds, and pods need no restart.",
    silentWhen:
      "The number of the port is none of a well-known server that speaks no HTTP, the server is behind a target port that is only named, the Service is in a namespace of ambient mode without a waypoint, or the client speaks first, to a server without a sidecar while proxies pass on what they do not know (ALLOW_ANY).",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
  },

  *check(object, mesh) {
    if (object.kind === "ServiceEntry") yield* ofEntry(object, mesh);
    else yield* ofService(object, mesh);
  },
});

/** A server by the number of its port. */
interface Server {
  readonly name: string;
  /** The server sends the first bytes of a connection. */
  readonly speaksFirst: boolean;
}
const first = (name: string): Server => ({ name, speaksFirst: true });
const second = (name: string): Server => ({ name, speaksFirst: false });

/** Servers that speak no HTTP, by the ports that IANA registered for them or that are their default. */
const servers: ReadonlyMap<number, Server> = new Map([
  [21, first("FTP")],
  [22, first("SSH")],
  [25, first("SMTP")],
  [110, first("POP3")],
  [143, first("IMAP")],
  [587, first("SMTP")],
  [1433, second("SQL Server")],
  [3306, first("MySQL")],
  [5432, second("PostgreSQL")],
  [5672, second("AMQP")],
  [6379, second("Redis")],
  [9042, second("Cassandra")],
  [11211, second("Memcached")],
  [27017, second("MongoDB")],
]);

type ServicePort = Service["spec"]["ports"][number];

/** A port of a Service whose server speaks no HTTP. */
interface WrongPort {
  readonly at: Problem["at"];
  readonly port: number;
  readonly server: Server;
}

/** The ports of a Service that are declared as HTTP, or as nothing although the server speaks first. */
function wrongPorts({ spec }: Service): readonly WrongPort[] {
  return spec.ports.flatMap((port, i) => {
    const server = serverBehind(port);
    if (server === undefined || port.port === undefined) return [];
    const declared = declaredProtocol(port);
    const isWrong = declared === "HTTP" || (declared === "undeclared" && server.speaksFirst);
    const field = port.appProtocol !== undefined ? ["appProtocol"] : port.name !== undefined ? ["name"] : [];
    return isWrong ? [{ at: ["spec", "ports", i, ...field], port: port.port, server }] : [];
  });
}

function* ofService(service: Service, mesh: View): Iterable<Problem> {
  const [namespace] = mesh.related(namespaceOfWrongPort, service);
  if (namespace === undefined || isReadByZtunnelAlone(service, namespace, mesh.settings)) return;
  for (const wrong of wrongPorts(service))
    if (wrong.server.speaksFirst) yield hanging(wrong);
    else yield* unread(wrong, readerOf(service, namespace, mesh), mesh);
}

function* ofEntry(entry: ServiceEntry, mesh: View): Iterable<Problem> {
  if (!isServed(entry, mesh.settings)) return;
  for (const [i, { number, targetPort, protocol }] of entry.spec.ports.entries()) {
    const server = servers.get(targetPort || number || 0);
    if (server === undefined || number === undefined || parsedProtocol(protocol ?? "") !== "HTTP") continue;
    const wrong = { at: ["spec", "ports", i, "protocol"], port: number, server };
    if (server.speaksFirst) yield hanging(wrong);
    else yield* unread(wrong, "nobody", mesh);
  }
}

const hanging = ({ at, port, server: { name } }: WrongPort): Problem => ({
  at,
  message: `Connections to port ${port} hang: proxies wait for the client to speak first, and ${name}, by the number of its port, does so itself`,
  key: `first ${port}`,
});

/** Who reads connections at the server as HTTP alone. */
type Reader = "proxies" | "nobody" | "unknown";

function* unread({ at, port, server: { name } }: WrongPort, reader: Reader, { settings }: View): Iterable<Problem> {
  const speaks = `${name}, by the number of its port, speaks none`;
  if (reader !== "nobody")
    yield {
      at,
      message: `Proxies parse connections to port ${port} as HTTP, and ${speaks}`,
      key: `http ${port}`,
      ...(reader === "unknown" ? { onlyWarns: unknownCapture } : {}),
    };
  else if (settings.outboundTrafficPolicy === "REGISTRY_ONLY")
    yield {
      at,
      message: `Sidecars refuse connections to port ${port}, because they are for HTTP alone while outboundTrafficPolicy is REGISTRY_ONLY, and ${speaks}`,
      key: `http ${port}`,
    };
}

/** The server by the port at which it listens; undefined: nothing is known about it. */
function serverBehind({ port, targetPort }: ServicePort): Server | undefined {
  if (targetPort === undefined || targetPort === 0) return servers.get(port ?? 0);
  return servers.get(Number(targetPort));
}

const hasWaypoint = (service: Service, namespace: Namespace): boolean =>
  [service.metadata.labels, namespace.metadata.labels]
    .map((labels) => waypointNamed(labels, namespace.metadata.name))
    .some((one) => one !== undefined && one !== "none");

/** Without a waypoint, nothing looks for HTTP in connections of ambient clients. */
const isReadByZtunnelAlone = (service: Service, namespace: Namespace, settings: InjectorSettings): boolean =>
  enrollmentOf(namespace, settings) === "ambient" && !hasWaypoint(service, namespace);

function readerOf(service: Service, namespace: Namespace, mesh: View): Reader {
  const enrollment = enrollmentOf(namespace, mesh.settings);
  if (enrollment === "ambient" && hasWaypoint(service, namespace)) return "proxies";
  const captures = mesh.get(captured, namespace).capturesOf(service.spec.selector);
  if (captures.has("sidecar")) return "proxies";
  if (captures.has("unknown")) return "unknown";
  if (captures.size > 0) return "nobody";
  if (enrollment === "unknown") return "unknown";
  return enrollment.includes("sidecar") ? "proxies" : "nobody";
}
