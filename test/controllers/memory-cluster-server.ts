import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestContext } from "node:test";
import type { ApiRequest } from "../../src/sources/cluster/connection.ts";
import { ClusterError } from "../../src/sources/cluster/cluster-error.ts";
import { temporaryFolder } from "../contract/api-server.ts";
import type { MemoryCluster } from "./memory-cluster.ts";

const statuses: Readonly<Record<string, number>> = {
  absent: 404,
  forbidden: 403,
  exists: 409,
  conflict: 409,
  invalid: 422,
};

/** Serves the cluster over a socket until the test ends. Returns the path of a kubeconfig for it. */
export async function kubeconfigOf(cluster: MemoryCluster, context: TestContext): Promise<string> {
  const connection = cluster.connect();
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request);
    const contentType = request.headers["content-type"];
    try {
      const answered = await connection.request({
        method: request.method as NonNullable<ApiRequest["method"]>,
        path: request.url ?? "/",
        ...(body === "" ? {} : { body: JSON.parse(body) as object }),
        ...(contentType === undefined ? {} : { contentType }),
      });
      response.writeHead(200, { "content-type": "application/json" }).end(await text(answered));
    } catch (error) {
      const { fault, message } = error instanceof ClusterError ? error : { fault: "failed", message: String(error) };
      response.writeHead(statuses[fault] ?? 500, { "content-type": "application/json" });
      response.end(JSON.stringify({ kind: "Status", status: "Failure", message }));
    }
  };
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const path = join(temporaryFolder(context), "config");
  const clusters = [{ name: "c", cluster: { server: url } }];
  const contexts = [{ name: "c", context: { cluster: "c", user: "u" } }];
  const config = { apiVersion: "v1", kind: "Config", clusters, contexts, users: [{ name: "u", user: {} }] };
  writeFileSync(path, JSON.stringify({ ...config, "current-context": "c" }));
  return path;
}
