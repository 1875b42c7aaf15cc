// The API server of the bench, in a process of its own: so many objects in lists and watches, and as many events a second
// as it is told to. `api-server.ts OBJECTS`.

import { kinds } from "../../src/kube/kinds.ts";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import { ListWatchServer, type RawObject } from "../sources/cluster/list-watch-server.ts";
import { rootNamespace, storedMesh } from "./mesh.ts";

export type ApiServerAsk =
  | { readonly certificate: Certificate }
  | { readonly eventsPerSecond: number }
  | { readonly trustDomain: string }
  | "requests";
export type ApiServerTold = { readonly url: string; readonly objects: number } | { readonly done: number };

const everyMs = 10;
let server: ListWatchServer;
let timer: NodeJS.Timeout | undefined;
let sent = 0;

async function start({ cert, key }: Certificate): Promise<ApiServerTold> {
  server = new ListWatchServer({ cert, key });
  const plurals = new Map<string, string>();
  for (const { served } of Object.values(kinds))
    for (const { group, versions, kind, plural } of served) {
      const apiVersion = [group, versions[0]].filter(Boolean).join("/");
      server.serve(apiVersion, kind, plural);
      plurals.set(`${apiVersion}/${kind}`, plural);
    }
  let objects = 0;
  for (const object of storedMesh(Number(process.argv[2]))) {
    server.apply(plurals.get(`${object.apiVersion}/${object.kind}`) ?? object.kind, object as unknown as RawObject);
    objects++;
  }
  server.compact();
  return { url: await server.listen(), objects };
}

/** Canaries all over the mesh take a step each. */
function sendEvents(perSecond: number): ApiServerTold {
  clearInterval(timer);
  const told = { done: sent };
  sent = 0;
  if (perSecond === 0) return told;
  const canaries = server.objects("virtualservices");
  const start = performance.now();
  timer = setInterval(() => {
    const due = Math.floor(((performance.now() - start) / 1000) * perSecond);
    for (; sent < due; sent++) {
      const canary = canaries[(sent * 7919) % canaries.length] as RawObject;
      server.apply("virtualservices", { ...canary, metadata: { ...canary.metadata, generation: 4 + sent } });
    }
  }, everyMs);
  return told;
}

function configure(trustDomain: string): ApiServerTold {
  server.apply("configmaps", {
    metadata: { name: "istio", namespace: rootNamespace },
    data: { mesh: `trustDomain: ${trustDomain}\n` },
  });
  return { done: 1 };
}

function told(ask: ApiServerAsk): ApiServerTold | Promise<ApiServerTold> {
  if (ask === "requests") return { done: server.requests.length };
  if ("certificate" in ask) return start(ask.certificate);
  return "trustDomain" in ask ? configure(ask.trustDomain) : sendEvents(ask.eventsPerSecond);
}

process.on("message", (ask: ApiServerAsk) => void Promise.resolve(told(ask)).then((answer) => process.send?.(answer)));
process.on("disconnect", () => process.exit());
