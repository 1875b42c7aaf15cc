import { parentPort, workerData } from "node:worker_threads";
import { ListWatchServer } from "./list-watch-server.ts";

// A server of its own thread, so that its work does not count as that of whoever lists. Posts its address.
const { count } = workerData as { readonly count: number };
const server = new ListWatchServer();
server.serve("v1", "ConfigMap", "configmaps");

const kinds = [
  ["networking.istio.io/v1", "VirtualService", "virtualservices"],
  ["networking.istio.io/v1", "DestinationRule", "destinationrules"],
  ["security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies"],
  ["security.istio.io/v1", "PeerAuthentication", "peerauthentications"],
] as const;
const specs = {
  VirtualService: (host: string) => ({
    hosts: [host],
    http: [
      {
        match: [{ uri: { prefix: "/v2" } }],
        route: [
          { destination: { host, subset: "v1" }, weight: 90 },
          { destination: { host, subset: "v2" }, weight: 10 },
        ],
      },
    ],
  }),
  DestinationRule: (host: string) => ({ host, subsets: [{ name: "v1" }, { name: "v2" }] }),
  AuthorizationPolicy: (app: string) => ({ selector: { matchLabels: { app } } }),
  PeerAuthentication: (app: string) => ({ selector: { matchLabels: { app } }, mtls: { mode: "STRICT" } }),
};

/** As many of each kind. */
for (const [apiVersion, kind, plural] of kinds) {
  server.serve(apiVersion, kind, plural);
  for (let i = 0; i < count / kinds.length; i++)
    server.apply(plural, {
      metadata: {
        name: `object-${i}`,
        namespace: `namespace-${i % 500}`,
        labels: { app: `app-${i}`, "app.kubernetes.io/managed-by": "Helm" },
        annotations: { "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(1_000) },
        managedFields: [{ manager: "kubectl", fieldsV1: { note: "y".repeat(500) } }],
        creationTimestamp: "2026-01-01T00:00:00Z",
      },
      spec: specs[kind](`app-${i}`),
    });
}
const url = await server.listen();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
parentPort?.postMessage(url);
