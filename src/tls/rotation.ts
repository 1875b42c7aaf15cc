import { type Authority, bundleOf, isDue, leafLifeMs } from "./authority.ts";
import { certificateIn } from "./read-certificates.ts";

/**
 * The authority that all replicas share. What happens next follows from this alone, so that a rotation continues after
 * a crash at any point.
 */
export interface AuthorityState {
  /** Issues the certificates of the servers. */
  readonly issuer: Authority;
  /** Clients are told to trust it; it will become the issuer. */
  readonly next?: Authority;
  /** PEM of former issuers that clients still trust, newest first. Their keys no longer exist. */
  readonly previous: readonly string[];
  /** When all clients were first seen to trust `next`; milliseconds since 1970. */
  readonly publishedAt?: number;
  /** When the issuer became one. */
  readonly switchedAt?: number;
  /** The last request for a rotation that was begun: see {@link Situation.request}. */
  readonly begun?: string;
  /** The former issuer is dropped as soon as all servers have had time to stop using it, because its key may be known. */
  readonly distrust?: boolean;
  /** Increases with each write, which tells a later state from one that was restored from a backup. */
  readonly generation?: number;
  /** The uid of the cluster's kube-system namespace when the authority was created. */
  readonly cluster?: string;
}

/** How far the clients are known to trust an authority. `unknown`: their configuration cannot be read. */
export type Trust = "all" | "some" | "unknown";

export interface Situation {
  /** Wall clock, milliseconds since 1970. */
  readonly now: number;
  readonly trust: (pem: string) => Trust;
  /** Someone asked for a rotation: any text that was not asked before. With the word `distrust`, the former issuer is dropped early. */
  readonly request?: string | undefined;
  readonly cluster?: string | undefined;
  /** How long clients are given to notice that they should trust another authority. */
  readonly settleMs: number;
  /** A new authority, if one is needed. */
  readonly spare: () => Promise<Authority>;
}

export interface Step {
  readonly state: AuthorityState;
  /** What was done, for the log. */
  readonly done: string;
}

/** For an operator: where the rotation stands. */
export type Phase = "steady" | "publishing" | "retiring";

export const phaseOf = ({ next, previous }: Pick<AuthorityState, "next" | "previous">): Phase => {
  if (next !== undefined) return "publishing";
  return previous.length > 0 ? "retiring" : "steady";
};

/** PEM of everything that clients have to trust, newest first. */
export const bundleFor = ({ next, issuer, previous }: AuthorityState): string =>
  bundleOf([...(next === undefined ? [] : [next.cert]), issuer.cert, ...previous].map((pem) => certificateIn(pem)));

const mostPrevious = 4;
/** A former issuer is trusted until every certificate of it has expired, and a little longer, because clocks differ. */
const retireMs = leafLifeMs + 3_600_000;
/** API servers learn of another caBundle by their own watch, for which servers wait before they rely on it. */
export const observedMs = 5_000;
/** Servers read the Secret, wait for {@link observedMs}, and issue a certificate; a busy machine takes longer. */
const leaveMs = observedMs + 10_000;
/** Without knowledge of what clients trust, a switch waits until the issuer has no longer than this. */
const lastChanceMs = leafLifeMs;

/**
 * The next step of a rotation, or undefined if there is nothing to do now. A rotation has three: the next authority is
 * published beside the issuer; when all clients have trusted it for a while, it becomes the issuer; when the last
 * certificate of the former issuer has expired, clients no longer trust that one. Each step is one write.
 */
export async function nextStep(state: AuthorityState, situation: Situation): Promise<Step | undefined> {
  return (
    (await replaceExpired(state, situation)) ??
    (await publish(state, situation)) ??
    notePublished(state, situation) ??
    switchOver(state, situation) ??
    retire(state, situation)
  );
}

const validTo = (pem: string): number => Date.parse(certificateIn(pem).validTo);
const isOver = (pem: string, now: number): boolean => validTo(pem) <= now;

/** Nobody accepts the certificates of an expired issuer, so there is nothing to wait for. */
async function replaceExpired(state: AuthorityState, { now, spare }: Situation): Promise<Step | undefined> {
  if (!isOver(state.issuer.cert, now)) return undefined;
  const { next, publishedAt: _, ...rest } = state;
  const issuer = next !== undefined && !isOver(next.cert, now) ? next : await spare();
  const previous = state.previous.filter((pem) => !isOver(pem, now));
  return { state: { ...rest, issuer, previous, switchedAt: now }, done: "an expired authority was replaced" };
}

async function publish(state: AuthorityState, situation: Situation): Promise<Step | undefined> {
  const { now, request, cluster, spare } = situation;
  const isAsked = request !== undefined && request !== state.begun;
  const asked = isAsked ? { begun: request, distrust: request.includes("distrust") } : {};
  if (state.next !== undefined && !isOver(state.next.cert, now))
    return isAsked
      ? { state: { ...state, ...asked }, done: "a rotation was asked for while one was going on" }
      : undefined;
  const why = isAsked ? "it was asked for" : reasonFor(state, situation);
  if (why === undefined) return undefined;
  const { publishedAt: _, distrust: __, ...rest } = state;
  const own = cluster === undefined ? {} : { cluster };
  const done = `the next authority is added to what clients trust, because ${why}`;
  return { state: { ...rest, ...asked, ...own, next: await spare() }, done };
}

function reasonFor({ issuer, next, cluster }: AuthorityState, situation: Situation): string | undefined {
  if (next !== undefined) return "the one before it has expired";
  if (cluster !== undefined && situation.cluster !== undefined && cluster !== situation.cluster)
    return "the present one was made in another cluster, which may still use it";
  return isDue(certificateIn(issuer.cert), situation.now) ? "two thirds of its life are over" : undefined;
}

/** The wait starts anew when someone took the authority away from a client, and when the clock was set back. */
function notePublished(state: AuthorityState, { now, trust }: Situation): Step | undefined {
  const { next, publishedAt, ...rest } = state;
  if (next === undefined) return undefined;
  const trusted = trust(next.cert);
  if (trusted === "all" && (publishedAt === undefined || publishedAt > now))
    return { state: { ...rest, next, publishedAt: now }, done: "all clients trust the next authority" };
  if (trusted === "some" && publishedAt !== undefined)
    return { state: { ...rest, next }, done: "a client no longer trusts the next authority" };
  return undefined;
}

function switchOver(state: AuthorityState, { now, trust, settleMs }: Situation): Step | undefined {
  const { next, publishedAt, ...rest } = state;
  if (next === undefined) return undefined;
  const isSettled = publishedAt !== undefined && now - publishedAt >= settleMs && trust(next.cert) === "all";
  const isLastChance = trust(next.cert) === "unknown" && validTo(state.issuer.cert) - now < lastChanceMs;
  if (!isSettled && !isLastChance) return undefined;
  const previous = [state.issuer.cert, ...state.previous].slice(0, mostPrevious);
  return {
    state: { ...rest, issuer: next, previous, switchedAt: now },
    done: "certificates are now issued by the next authority",
  };
}

function retire(state: AuthorityState, { now, settleMs }: Situation): Step | undefined {
  const { previous, switchedAt, distrust = false } = state;
  if (previous.length === 0) return undefined;
  if (switchedAt === undefined || switchedAt > now)
    return { state: { ...state, switchedAt: now }, done: "the time of the last switch was corrected" };
  const waitMs = distrust ? settleMs + leaveMs : retireMs;
  const kept = now - switchedAt >= waitMs ? [] : previous.filter((pem) => !isOver(pem, now));
  if (kept.length === previous.length) return undefined;
  return { state: { ...state, previous: kept }, done: "clients no longer trust the former authority" };
}
