import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { Outcome, RouteDestination, RouteOutcome, TransportOutcome } from "../requests/outcome.ts";
import { hostsMeant } from "../traffic/hosts.ts";
import type { Entry, Intent } from "./intents.ts";

/** Whether what an entry expects is so, and what shows it. */
export interface Finding {
  readonly state: "held" | "broken" | "undecided";
  /** What becomes of an example that shows it; undefined: it holds, or no request shows it. */
  readonly outcome?: Outcome;
  /** What is or would be done with the example, if its result does not say it: `routed to subset v2 of x`. */
  readonly how?: string;
  /** Why it is not known, if no request shows it. */
  readonly because?: string;
}

/** Collects what becomes of the requests of one entry, until it is clear that it is not what the entry expects. */
export class Expectation {
  readonly entry: Entry;
  /** Those that each destination may mean. */
  readonly #hosts: readonly (readonly string[])[];
  readonly #intent: Intent;
  readonly #settings: MeshSettings;
  #broken: Finding | undefined;
  #undecided: Finding | undefined;
  #isUnasked = true;

  constructor(entry: Entry, intent: Intent, settings: MeshSettings) {
    const { metadata, spec } = intent;
    const { domain } = settings;
    this.entry = entry;
    this.#intent = intent;
    this.#settings = settings;
    this.#hosts = entry.destinations.map(({ service = spec.to.service ?? spec.to.host?.toLowerCase() ?? "" }) =>
      hostsMeant(service, metadata.namespace, domain),
    );
  }

  /** The same, of which nothing is known yet. */
  again(): Expectation {
    return new Expectation(this.entry, this.#intent, this.#settings);
  }

  /** Whether it is about the way of requests, and not about what becomes of them. */
  get isOfWay(): boolean {
    return this.entry.expect === "encrypted" || this.entry.expect === "routed";
  }

  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  /** No request was examined, so that nothing is known to be as expected. */
  get isUnasked(): boolean {
    return this.#isUnasked;
  }

  get finding(): Finding {
    return this.#broken ?? this.#undecided ?? { state: "held" };
  }

  /** Something is not known that could show the opposite. */
  unknown(because: string): void {
    this.#undecided ??= { state: "undecided", because };
  }

  /** Some requests are as expected. */
  held(): void {
    this.#isUnasked = false;
  }

  add(outcome: Outcome): void {
    this.#isUnasked = false;
    const { state, how } = this.#of(outcome);
    const found = { state, outcome, ...(how === undefined ? {} : { how }) };
    if (state === "broken") this.#broken ??= found;
    else if (state === "undecided") this.#undecided ??= found;
  }

  /** Requests get to something that the intent is not about. */
  addElsewhere(outcome: Outcome): void {
    this.#isUnasked = false;
    const to = outcome.destination;
    this.#broken ??= {
      state: "broken",
      outcome,
      how: `routed to ${to === undefined ? "nothing" : formatDestination(to)}`,
    };
  }

  #of(outcome: Outcome): Judged {
    switch (this.entry.expect) {
      case "allowed":
        return arrives(outcome);
      case "denied":
        return isKept(outcome);
      case "encrypted":
        return isEncrypted(outcome);
      case "routed":
        return this.#isRouted(outcome);
      default:
        return undecided;
    }
  }

  #isRouted({ route, destination }: Outcome): Judged {
    if (route.result === "undecided") return undecided;
    if (route.result === "nowhere") return broken;
    if (destination !== undefined && !this.#hosts.some((_, i) => this.#isListed(destination, i)))
      return { state: "broken", how: `routed to ${formatDestination(destination)}` };
    return this.#shares(route);
  }

  /** The smallest shares, over all destinations of one route. */
  #shares({ destinations }: RouteOutcome): Judged {
    for (const [i, { atLeast, subset }] of this.entry.destinations.entries()) {
      if (atLeast === undefined) continue;
      const own = destinations.filter((one) => this.#isListed(one, i));
      const percent = Math.round(own.reduce((sum, { share }) => sum + share, 0) * 1000) / 10;
      const listed = formatDestination({ host: own[0]?.host ?? this.#hosts[i]?.at(-1) ?? "", subset });
      if (percent < atLeast)
        return {
          state: "broken",
          how: `routed to ${listed} with ${percent}% of the requests, where at least ${atLeast}% are expected`,
        };
    }
    return held;
  }

  #isListed({ host, subset }: RouteDestination, i: number): boolean {
    const listed = this.entry.destinations[i];
    return this.#hosts[i]?.includes(host) === true && (listed?.subset === undefined || listed.subset === subset);
  }
}

type Judged = Pick<Finding, "state" | "how">;
const held: Judged = { state: "held" };
const broken: Judged = { state: "broken" };
const undecided: Judged = { state: "undecided" };

const arrives = ({ result }: Outcome): Judged =>
  result === "accepted" ? held : result === "undecided" ? undecided : broken;

const isKept = ({ result }: Outcome): Judged =>
  result === "accepted" ? broken : result === "undecided" ? undecided : held;

/** A request that is sent in plaintext and then denied was in plaintext; one whose connection is refused was not sent. */
function isEncrypted({ result, transport }: Outcome): Judged {
  const plain = transport.find((connection) => connection.result === "plaintext");
  if (plain !== undefined) return { state: "broken", how: `sent in plaintext${accepting(plain)}` };
  const isOpen = transport.some(({ result: of }) => of === "undecided" || of === "passed");
  return isOpen || (result === "undecided" && transport.length === 0) ? undecided : held;
}

/** Why the server accepts plaintext. */
function accepting({ to, mode, rule }: TransportOutcome): string {
  const sent = rule === undefined ? "" : `, as ${idOf(rule)} says`;
  if (to === "outside") return `${sent}, out of the mesh`;
  if (to === "gateway") return `${sent}, to a gateway`;
  if (mode === undefined) return `${sent}, to a port without a proxy`;
  return `${sent}, which mode ${mode.mode} accepts${mode.by === undefined ? "" : ` (${idOf(mode.by)})`}`;
}

const formatDestination = ({ host, subset }: Pick<RouteDestination, "host" | "subset">): string =>
  subset === undefined ? host : `subset ${subset} of ${host}`;
