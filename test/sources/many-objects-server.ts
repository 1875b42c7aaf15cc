import { parentPort, workerData } from "node:worker_threads";
import { ListWatchServer } from "./list-watch-server.ts";

// A server of its own thread, so that its work does not count as that of whoever lists. Posts its address.
const { count } = workerData as { readonly count: number };
const server = new ListWatchServer();
server.serve("v1", "ConfigMap", "configmaps");
server.serve("networking.istio.io/v1", "VirtualService", "virtualservices");
for (let i = 0; i < count; i++)
  server.apply("virtualservices", {
    metadata: {
      name: `virtual-service-${i}`,
      namespace: `namespace-${i % 500}`,
      labels: { app: `app-${i}`, "app.kubernetes.io/managed-by": "Helm" },
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(1_000) },
      managedFields: [{ manager: "kubectl", fieldsV1: { note: "y".repeat(500) } }],
      creationTimestamp: "2026-01-01T00:00:00Z",
    },
    spec: {
      hosts: [`host-${i}`],
      http: [
        {
          match: [{ uri: { prefix: "/v2" } }],
          route: [
            { destination: { host: `host-${i}`, subset: "v1" }, weight: 90 },
            { destination: { host: `host-${i}`, subset: "v2" }, weight: 10 },
          ],
        },
      ],
    },
  });
const url = await server.listen();
parentPort?.once("message", () => void server.close());
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
parentPort?.postMessage(url);
