// CPU that a server takes for one review over TLS: each server in a process of its own, all asked in turn by one client.

import { Agent, request } from "node:https";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import { Child } from "./child.ts";
import { median, shown, table } from "./measure.ts";
import { namespace, type Raw, storedMesh, virtualService } from "./mesh.ts";
import { review, withSpec } from "./reviews.ts";
import type { Ask, ServerKind, Told } from "./server.ts";

/** One review after the other: with more at once a server that is slower than the client works in longer stretches. */
const connections = 1;
const reviewsInRound = 1_000;
/** The first rounds, of a server that has just started. */
const rounds = 7;
/** After so many reviews, V8 has compiled what they run. Then there are as many rounds of a server that has been running for hours. */
const reviewsUntilCompiled = 20_000;

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

export function post(
  { port, agent }: Pick<Server, "port" | "agent">,
  body: string,
  path = "/validate",
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const sent = request(
    { host: "127.0.0.1", port, path: `${path}?timeout=10s`, method: "POST", agent, headers },
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

async function send({ server, asked, said }: Contender, count: number): Promise<void> {
  const { bodies, path } = asked;
  let left = count;
  const loop = async () => {
    while (left-- > 0) {
      const answer = await post(server, bodies[left % bodies.length] as string, path);
      if (!answer.includes(said)) throw new Error(`the bench expected ${said} in an answer and got ${answer}`);
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
}

/** Reviews of one sort, and what the answer of Meshward holds. */
export interface Asked {
  readonly title: string;
  readonly path: "/validate" | "/mutate";
  readonly bodies: readonly string[];
  readonly said: string;
}

const allowed = '"allowed":true';

/** A canary's next step: in each of these the weights change, and the rest is as it was. */
export function updates(objects: number, weights: readonly [number, number] = [75, 25]): readonly string[] {
  const found: string[] = [];
  for (const old of storedMesh(objects)) {
    const { name } = old.metadata;
    if (old.kind === "VirtualService" && typeof name === "string" && name.startsWith("vs-"))
      found.push(nextStep(old, name, weights));
    if (found.length === 100) break;
  }
  return found;
}

function nextStep(old: Raw, name: string, weights: readonly [number, number]): string {
  const { spec } = virtualService({ name }, name.replace("vs-", "svc-"), { weights });
  const { gateways } = old["spec"] as { gateways?: readonly string[] };
  return review({
    old,
    object: withSpec(old, { ...(spec as object), ...(gateways === undefined ? {} : { gateways }) }),
  });
}

/** A review for each thing that Meshward may answer. */
export const everySort = (): readonly Asked[] => [
  { title: "VirtualService update, allowed", path: "/validate", bodies: updates(1_000), said: allowed },
  {
    title: "VirtualService update, denied",
    path: "/validate",
    bodies: updates(1_000, [75, 20]),
    said: '"allowed":false',
  },
  {
    title: "Namespace, patched",
    path: "/mutate",
    bodies: Array.from({ length: 100 }, (_, i) => review({ object: namespace(`new-${i}`) })),
    said: '"patch":"',
  },
];

interface Contender {
  readonly title: string;
  readonly server: Server;
  readonly asked: Asked;
  /** What every answer holds. */
  readonly said: string;
  readonly profile?: string;
  readonly us: number[];
  /** The same, of a server that has been running for long. */
  readonly usLater?: number[];
}

/** Every contender once a round, so that what slows the machine down slows all of them. */
async function play(contenders: readonly Contender[]): Promise<void> {
  for (let round = 0; round <= rounds; round++)
    for (const contender of contenders) await playRound(contender, contender.us, round === 0 ? 2 * reviewsInRound : 0);
}

/** After {@link play}. */
async function playLater(contenders: readonly Contender[]): Promise<void> {
  for (let round = 0; round <= rounds; round++)
    for (const contender of contenders)
      await playRound(contender, contender.usLater ?? [], round === 0 ? reviewsUntilCompiled : 0);
}

async function playRound(contender: Contender, us: number[], before: number): Promise<void> {
  const { server, profile } = contender;
  if (profile !== undefined) await server.child.ask({ profile });
  await send(contender, before);
  const start = await cpuUsedBy(server);
  await send(contender, reviewsInRound);
  us.push((await cpuUsedBy(server)) - start);
}

const parts = [
  ["shell", "Meshward's shell: reads the review, allows it, answers"],
  ["log", "the same, and a line in the log"],
  ["metrics", "the same, and the metrics"],
  ["door", "the same, and both objects read at the door"],
] as const;

/** What an answer costs by what it says, against a server that parses the review and says yes. */
export async function decisionsTable(certificate: Certificate): Promise<string> {
  const servers = [await startServer("floor", certificate), await startServer("meshward", certificate, 1_000)] as const;
  const [floor, meshward] = servers;
  try {
    const pairs = everySort().map((asked) => ({
      asked,
      floor: { title: "floor", server: floor, asked, said: allowed, us: new Array<number>() },
      meshward: { title: "Meshward", server: meshward, asked, said: asked.said, us: new Array<number>() },
    }));
    await play(pairs.flatMap((pair) => [pair.floor, pair.meshward]));
    return table(
      "By what is decided, over TLS with keep-alive, 1,000 objects; the floor is node:https that parses and says yes",
      ["review", "floor, CPU us", "Meshward, CPU us", "ratio"],
      pairs.map((pair) => [
        pair.asked.title,
        perReview(pair.floor.us),
        perReview(pair.meshward.us),
        median(pair.meshward.us.map((us, i) => us / (pair.floor.us[i] ?? Number.NaN)).slice(1)).toFixed(2),
      ]),
    );
  } finally {
    for (const { child, agent } of servers) {
      agent.destroy();
      child.end();
    }
  }
}

const perReview = (us: readonly number[] = []): string => shown(median(us.slice(1)) / reviewsInRound);

/** The bodies depend on nothing but the order in which objects are made: they fit the first objects of any mesh. */
export async function webhookTable(certificate: Certificate): Promise<string> {
  const servers: Server[] = [];
  const contender = (title: string, server: Server, profile?: string): Contender => ({
    title,
    server,
    asked: { title: "allowed", path: "/validate", bodies, said: allowed },
    said: allowed,
    us: [],
    usLater: [],
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
    await playLater(contenders);
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
  const ratio = (us: readonly number[] = [], to: readonly number[] = []) =>
    median(us.map((value, i) => value / (to[i] ?? Number.NaN))).toFixed(2);
  return table(
    `POST /validate: an allowed VirtualService update, ${kilobytes.toFixed(1)} KB, TLS with keep-alive; later: after ${shown(reviewsUntilCompiled)} reviews`,
    ["server", "CPU us per review", "to bare", "to fastify", "later, CPU us", "to bare"],
    contenders.map(({ title, us, usLater }) => [
      title,
      perReview(us),
      ratio(us, bare?.us),
      ratio(us, echo?.us),
      perReview(usLater),
      ratio(usLater, bare?.usLater),
    ]),
  );
}
