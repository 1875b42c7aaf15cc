import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { declaredProtocol, parsedProtocol } from "../../mesh/membership/service-protocol.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { waypointNamed } from "../../mesh/waypoints/bindings.ts";
import type { MeshView } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type View = MeshView<typeof namespaceOfService>;

export const portProtocolWrong = defineRule({
  id: "port-protocol-wrong",
  subject: ["Service", "ServiceEntry"],
  reads: [namespaceOfService],
  mode: "warn",
  since: "0.1.0",
  // Any program can listen at any port. Kafka's 9092 is left out, because metrics are often served there.
  stage: "trial",
  tags: ["mtls"],
  summary:
    "The port of a database or of a mail server is declared as HTTP, or as nothing although its server speaks first.",
  why: "The sidecar of a client parses what it sends to a port that is declared as HTTP, and answers 400 or closes the connection if it is none. Where nothing is declared, it waits for the first bytes of the client to detect the protocol (Istio pilot/pkg/networking/core/listener.go buildSidecarOutboundListener, pkg/config/kube/conversion.go ConvertProtocol); a client of MySQL, SMTP or SSH sends none before the server has, so that both wait. Only the ports 25, 53, 3306 and 27017 of Services are TCP without a declaration.",
  fix: "Declare the port as TCP: `appProtocol: tcp`, or a name that begins with `tcp`; in a ServiceEntry `protocol: TCP`.",
  incident: {
    symptoms: ["reset", "backend-error"],
    proxies: ["sidecar"],
    seen: "Clients with a sidecar get `unexpected EOF`, `malformed packet` or a timeout while they connect to the database; the access log shows 400 with `DPE`. Clients without a sidecar connect.",
    wayOut: "Set `appProtocol: tcp` on the port. Proxies use it within seconds, and pods need no restart.",
    silentWhen:
      "The number of the port is none of a well-known server that speaks no HTTP, the Service is in a namespace of ambient mode without a waypoint, or the server is behind a target port that is only named.",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
  },

  *check(object, mesh) {
    if (object.kind === "ServiceEntry") yield* ofEntry(object, mesh);
    else if (!isReadByZtunnelAlone(object, mesh)) yield* ofService(object);
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

function* ofService({ spec }: Service): Iterable<Problem> {
  for (const [i, port] of spec.ports.entries()) {
    const server = serverBehind(port);
    if (server === undefined || port.port === undefined) continue;
    const declared = declaredProtocol(port);
    const at = ["spec", "ports", i];
    const field = port.appProtocol !== undefined ? ["appProtocol"] : port.name !== undefined ? ["name"] : [];
    if (declared === "HTTP") yield readAsHttp([...at, ...field], port.port, server);
    else if (declared === "undeclared" && server.speaksFirst)
      yield {
        at: [...at, ...field],
        message: `Connections to port ${port.port} hang: proxies wait for the client to speak first, and ${server.name}, by the number of its port, does so itself`,
        key: `first ${port.port}`,
      };
  }
}

function* ofEntry(entry: ServiceEntry, { settings }: View): Iterable<Problem> {
  if (!isServed(entry, settings)) return;
  for (const [i, { number, targetPort, protocol }] of entry.spec.ports.entries()) {
    const server = servers.get(targetPort || number || 0);
    if (server !== undefined && number !== undefined && parsedProtocol(protocol ?? "") === "HTTP")
      yield readAsHttp(["spec", "ports", i, "protocol"], number, server);
  }
}

const readAsHttp = (at: Problem["at"], port: number, { name }: Server): Problem => ({
  at,
  message: `Proxies parse connections to port ${port} as HTTP, and ${name}, by the number of its port, speaks none`,
  key: `http ${port}`,
});

/** The server by the port at which it listens; undefined: nothing is known about it. */
function serverBehind({ port, targetPort }: Service["spec"]["ports"][number]): Server | undefined {
  if (targetPort === undefined || targetPort === 0) return servers.get(port ?? 0);
  return servers.get(Number(targetPort));
}

/** Without a waypoint, nothing looks for HTTP in connections of ambient clients. */
function isReadByZtunnelAlone(service: Service, mesh: View): boolean {
  const [namespace] = mesh.related(namespaceOfService, service);
  if (namespace === undefined || enrollmentOf(namespace) !== "ambient") return false;
  const named = [service.metadata.labels, namespace.metadata.labels].map((labels) =>
    waypointNamed(labels, namespace.metadata.name),
  );
  return named.every((one) => one === undefined || one === "none");
}
