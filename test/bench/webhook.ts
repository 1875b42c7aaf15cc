// CPU that a server takes for one review over TLS: each server in a process of its own, all asked in turn by one client.

import { Agent, request } from "node:https";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import { Child } from "./child.ts";
import { median, shown, table } from "./measure.ts";
import { type Raw, storedMesh, virtualService } from "./mesh.ts";
import { review, withSpec } from "./reviews.ts";
import type { Ask, ServerKind, Told } from "./server.ts";

/** One review after the other: with more at once a server that is slower than the client works in longer stretches. */
const connections = 1;
const reviewsInRound = 1_000;
const rounds = 7;

interface Server {
  readonly child: Child<Ask, Told>;
  readonly port: number;
  readonly agent: Agent;
}

async function startServer(kind: ServerKind, certificate: Certificate, objects = 0): Promise<Server> {
  const child = new Child<Ask, Told>("server.ts", [kind, String(objects)]);
  const { port } = (await child.ask({ certificate })) as { port: number };
  return { child, port, agent: agentFor(certificate) };
}

export const agentFor = ({ cert }: Certificate): Agent =>
  new Agent({ keepAlive: true, maxSockets: connections, ca: cert, rejectUnauthorized: false });

const cpuUsedBy = async ({ child }: Server): Promise<number> => ((await child.ask("cpu")) as { cpuUs: number }).cpuUs;

export function post({ port, agent }: Pick<Server, "port" | "agent">, body: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const sent = request(
    { host: "127.0.0.1", port, path: "/validate?timeout=10s", method: "POST", agent, headers },
    (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
    },
  );
  sent.on("error", reject);
  sent.end(body);
  return promise;
}

async function send(server: Server, bodies: readonly string[], count: number): Promise<void> {
  let left = count;
  const loop = async () => {
    while (left-- > 0) {
      const answer = await post(server, bodies[left % bodies.length] as string);
      if (!answer.includes('"allowed":true')) throw new Error(`a review of the bench was not allowed: ${answer}`);
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
}

/** A canary's next step: in each of these the weights change, and the rest is as it was. */
export function updates(objects: number): readonly string[] {
  const found: string[] = [];
  for (const old of storedMesh(objects)) {
    const { name } = old.metadata;
    if (old.kind === "VirtualService" && typeof name === "string" && name.startsWith("vs-"))
      found.push(nextStep(old, name));
    if (found.length === 100) break;
  }
  return found;
}

function nextStep(old: Raw, name: string): string {
  const { spec } = virtualService({ name }, name.replace("vs-", "svc-"), { weights: [75, 25] });
  const { gateways } = old["spec"] as { gateways?: readonly string[] };
  return review({
    old,
    object: withSpec(old, { ...(spec as object), ...(gateways === undefined ? {} : { gateways }) }),
  });
}

interface Contender {
  readonly title: string;
  readonly server: Server;
  readonly bodies: readonly string[];
  readonly profile?: string;
  readonly us: number[];
}

/** Every contender once a round, so that what slows the machine down slows all of them. */
async function play(contenders: readonly Contender[]): Promise<void> {
  for (let round = 0; round <= rounds; round++)
    for (const { server, bodies, profile, us } of contenders) {
      if (profile !== undefined) await server.child.ask({ profile });
      if (round === 0) await send(server, bodies, 2 * reviewsInRound);
      const start = await cpuUsedBy(server);
      await send(server, bodies, reviewsInRound);
      us.push((await cpuUsedBy(server)) - start);
    }
}

const parts = [
  ["shell", "Meshward's shell: reads the review, allows it, answers"],
  ["log", "the same, and a line in the log"],
  ["metrics", "the same, and the metrics"],
  ["door", "the same, and both objects read at the door"],
] as const;

/** The bodies depend on nothing but the order in which objects are made: they fit the first objects of any mesh. */
export async function webhookTable(certificate: Certificate): Promise<string> {
  const servers: Server[] = [];
  const contender = (title: string, server: Server, profile?: string): Contender => ({
    title,
    server,
    bodies,
    us: [],
    ...(profile === undefined ? {} : { profile }),
  });
  const bodies = updates(1_000);
  try {
    const start = async (kind: ServerKind, objects?: number) => {
      const server = await startServer(kind, certificate, objects);
      servers.push(server);
      return server;
    };
    const contenders = [
      contender("bare node:https, reads the body", await start("bare")),
      contender("fastify, parses the body", await start("fastify")),
    ];
    for (const [kind, title] of parts) contenders.push(contender(title, await start(kind)));
    for (const objects of [1_000, 100_000]) {
      const server = await start("meshward", objects);
      for (const profile of ["baseline", "strict"])
        contenders.push(contender(`Meshward, ${profile}, ${shown(objects)} objects`, server, profile));
    }
    await play(contenders);
    return asTable(contenders, bodies);
  } finally {
    for (const { child, agent } of servers) {
      agent.destroy();
      child.end();
    }
  }
}

function asTable(contenders: readonly Contender[], bodies: readonly string[]): string {
  const [bare, echo] = contenders;
  const kilobytes = (bodies[0] as string).length / 1_024;
  const ratio = (us: readonly number[], to: Contender | undefined) =>
    median(us.map((value, i) => value / (to?.us[i] ?? Number.NaN))).toFixed(2);
  return table(
    `POST /validate: an allowed VirtualService update, ${kilobytes.toFixed(1)} KB, TLS with keep-alive`,
    ["server", "CPU us per review", "to bare", "to fastify"],
    contenders.map(({ title, us }) => [
      title,
      shown(median(us.slice(1)) / reviewsInRound),
      ratio(us, bare),
      ratio(us, echo),
    ]),
  );
}
