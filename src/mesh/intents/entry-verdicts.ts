import type { MeshView } from "../../view/view.ts";
import { entrancesOf } from "../requests/entrances.ts";
import { entryReads, outcomesOfEntry } from "../requests/entry.ts";
import { outcomeByIngress } from "../requests/ingress-routes.ts";
import type { Outcome, RouteDestination } from "../requests/outcome.ts";
import type { Caller, GatewayProxy, Target } from "../requests/question.ts";
import type { Known } from "./callers.ts";
import { mostWork, requestsOf } from "./conditions.ts";
import type { Expectation } from "./expectations.ts";
import type { Entry, Intent } from "./intents.ts";
import { entriesFor, entryReads as readsOfEntries, frontOfIntent, frontReads, publicHosts } from "./public-hosts.ts";

/** What `askEntries` reads. */
export const entryVerdictReads = [...entryReads, ...frontReads, ...readsOfEntries] as const;

/** Whether what an entry expects of callers outside is judged by the gateways alone: they get in by them. */
export const isJudgedAtGateways = (entry: Entry, { kind }: Caller, hosts: readonly unknown[]): boolean =>
  kind === "outside" && hosts.length > 0 && expectsArrival(entry);

export const expectsArrival = ({ expect }: Entry): boolean => expect === "allowed" || expect === "routed";

interface Asked {
  readonly intent: Intent;
  readonly targets: readonly Target[];
}

/**
 * Examines requests that come in from outside by gateways, for the public hosts of an entry. What does not get to the target is
 * what was asked for only where the entry expects that it does. Yields nothing between the questions, so that a review can pause.
 */
export function* askEntries(
  expectation: Expectation,
  { caller, notBy = [] }: Known,
  { intent, targets }: Asked,
  mesh: MeshView<(typeof entryVerdictReads)[number]>,
): Generator<undefined, undefined> {
  const { entry } = expectation;
  if (caller.kind !== "outside" && caller.kind !== "ingress") return;
  const hosts = publicHosts(entry, intent, mesh.settings);
  if (hosts.length === 0) return;
  const front = frontOfIntent(intent, mesh);
  const through = proxiesOfCaller(caller, notBy);
  for (const to of hosts.flatMap((host) => entriesFor(host, front, expectsArrival(entry), mesh))) {
    if (expectation.isBroken) return;
    // The host that clients send has the port, where it is not the usual one.
    const requests = requestsOf({ ...entry, hosts: [] });
    if (requests === undefined) continue;
    expectation.held();
    if (requests === "too much") expectation.unknown("the conditions of the entry take too much work");
    else if (followsBeside(expectation, outcomeByIngress(to, requests, mesh)))
      judge(expectation, outcomesOfEntry({ to, front }, requests, mesh, { limit: mostWork, through }), targets);
    yield;
  }
}

/** Whether the Gateways count too, where an Ingress may route the requests: they can end a denial, and what the Ingress routes may arrive. */
function followsBeside(expectation: Expectation, byIngress: Outcome | undefined): boolean {
  if (byIngress === undefined) return true;
  expectation.add(byIngress);
  return !expectsArrival(expectation.entry);
}

function proxiesOfCaller(caller: Caller, notBy: readonly GatewayProxy[]): (proxy: GatewayProxy) => boolean {
  const isMeant = caller.kind === "ingress";
  const named = new Set((isMeant ? caller.proxies : notBy).map(nameOf));
  return (proxy) => named.has(nameOf(proxy)) === isMeant;
}
/** The gateways that let in requests for the public hosts of an entry. */
export function gatewaysFor(
  entry: Entry,
  intent: Intent,
  mesh: MeshView<(typeof entryVerdictReads)[number]>,
): readonly GatewayProxy[] {
  const hosts = publicHosts(entry, intent, mesh.settings);
  if (hosts.length === 0) return [];
  const front = frontOfIntent(intent, mesh);
  const all = hosts.flatMap((host) => entriesFor(host, front, false, mesh));
  return all.flatMap((to) => entrancesOf(to, front, mesh)).flatMap(({ proxy }) => proxy ?? []);
}
const nameOf = ({ namespace, name }: GatewayProxy): string => `${namespace.metadata.name} ${name}`;

function judge(expectation: Expectation, outcomes: Iterable<Outcome>, targets: readonly Target[]): void {
  for (const outcome of outcomes) {
    if (expectation.isBroken) return;
    const { expect } = expectation.entry;
    const isThere = reaches(outcome, targets);
    if (expect === "allowed" && outcome.result === "accepted" && !isOnTheWay(outcome, targets))
      expectation.addElsewhere(outcome);
    else if (expect === "allowed" || expect === "routed" || isThere || isOpen(outcome)) expectation.add(outcome);
  }
}

/** It is not known where the requests get to. */
const isOpen = ({ result, destination }: Outcome): boolean => result === "undecided" && destination === undefined;

const isOnTheWay = ({ route }: Outcome, targets: readonly Target[]): boolean =>
  route.destinations.some((destination) => leadsTo(destination, targets));

const reaches = ({ destination }: Outcome, targets: readonly Target[]): boolean =>
  destination !== undefined && leadsTo(destination, targets);

function leadsTo({ host, object, port, workloads }: RouteDestination, targets: readonly Target[]): boolean {
  return targets.some((target) => {
    if (target.kind === "workloads") return target.workloads.some((workload) => workloads.includes(workload));
    const isIt = target.kind === "host" ? host === target.host : object === target.service;
    return isIt && port === target.port;
  });
}
