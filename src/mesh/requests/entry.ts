import type { MeshView } from "../../view/view.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { decisionsOf } from "./decisions.ts";
import { type Entrance, entrancesOf } from "./entrances.ts";
import type { EntryHost, Front, WebScheme } from "./front.ts";
import { type Stage, stageAt } from "./gateway-stage.ts";
import { Journey, journeyReads, undecided } from "./journey.ts";
import type { Outcome } from "./outcome.ts";
import type { Examination } from "./outcomes.ts";
import type { GatewayProxy } from "./question.ts";
import { outside } from "./sources.ts";

/** What `outcomesOfEntry` reads, from the objects of the front on. */
export const entryReads = journeyReads;
type View = MeshView<(typeof entryReads)[number]>;

const mostWork = 200_000;

/** The port that clients leave out of the name of the host. */
export const usualPort: Readonly<Record<WebScheme, number>> = { http: 80, https: 443 };

/** The host that clients send, with the port where it is not the usual one. Connections without HTTP name none. */
export function hostSentTo({ host, port, scheme }: EntryHost): Clauses {
  if (scheme === "tcp") return [];
  const sent = port === usualPort[scheme] ? host : `${host}:${port}`;
  return [{ attribute: "host", values: new Texts([[sent]]), not: false }];
}

/** The host, and the objects that can let requests for it in (`frontOf`). */
export interface Entering {
  readonly to: EntryHost;
  readonly front: Front;
}

interface EntryExamination extends Examination {
  /** The proxies that count. Default: all. */
  readonly through?: (proxy: GatewayProxy) => boolean;
}

/**
 * What becomes of requests from outside the mesh to a host that ingress gateways offer: which Gateway lets them in, what the
 * policies of its proxy decide, and where its routes lead. In parts with one outcome each; what is not known is undecided
 * (Istio pilot/pkg/networking/core/gateway.go, pilot/pkg/config/kube/gateway).
 */
export function* outcomesOfEntry(
  entering: Entering,
  requests: Box,
  mesh: View,
  examination: EntryExamination = {},
): Generator<Outcome, undefined> {
  const { limit = mostWork, decide = decisionsOf, memory } = examination;
  const work = new Work(limit, memory);
  try {
    const box = requests.withAll([...outside.identity, ...hostSentTo(entering.to)], work);
    if (box === undefined) return;
    const journey = new Journey(outside, mesh, { work, decide });
    for (const entrance of entrancesFor(entering, mesh, examination))
      yield* by(entrance, { ...entering, box, mesh, journey });
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    yield undecided(requests, outside, "there are so many policies and conditions that the rest was not examined");
  }
}

const entrancesFor = (
  { to, front }: Entering,
  mesh: View,
  { through = everyProxy }: EntryExamination,
): readonly Entrance[] => entrancesOf(to, front, mesh).filter(({ proxy }) => proxy === undefined || through(proxy));
const everyProxy = (): boolean => true;

interface Travelling extends Entering {
  readonly box: Box;
  readonly mesh: View;
  readonly journey: Journey;
}

function* by(entrance: Entrance, { to, front, box, mesh, journey }: Travelling): Generator<Outcome, undefined> {
  const stage = stageAt(entrance, to, front, mesh);
  if (stage.kind === "routed") yield* journey.throughGateway(stage, box);
  else yield ended(box, stage);
}

/** Requests that get no further. */
function ended(box: Box, { result, gateway, because }: Extract<Stage, { readonly kind: "ended" }>): Outcome {
  const { route, ...rest } = undecided(box, outside, because);
  return { ...rest, result, route: { ...route, result, gateway } };
}
