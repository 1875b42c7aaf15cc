import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { sentByAuto } from "../client-tls/client-tls.ts";
import { formatRequest, formatRule } from "../authorization/gain-wording.ts";
import {
  type AuthorizationOutcome,
  type Outcome,
  reasonOfWay,
  type Result,
  type Source,
  type TransportOutcome,
} from "./outcome.ts";

/** How a result is said of a request, as it is or as it would be after a change. */
export type Tense = "is" | "would be";

const verbs: Readonly<Record<Result, Readonly<Record<Tense, string>>>> = {
  accepted: { is: "is allowed", "would be": "would be allowed" },
  denied: { is: "is denied", "would be": "would be denied" },
  refused: { is: "is refused", "would be": "would be refused" },
  nowhere: { is: "reaches nothing", "would be": "would reach nothing" },
  undecided: { is: "is undecided", "would be": "would be undecided" },
};

/**
 * One outcome as a sentence without a full stop, about its example: `GET /ledger/x from service account web/storefront would be
 * allowed, by AuthorizationPolicy payments/allow-get rule 1`.
 */
export const formatOutcome = (outcome: Outcome, tense: Tense = "is"): string =>
  `${formatExample(outcome)} ${verbs[outcome.result][tense]}${formatReason(outcome)}`;

/** The example of an outcome in words. */
export function formatExample({ example, authorization, source }: Outcome): string {
  const isHttp = authorization.every(({ place }) => place !== "tcp");
  return `${formatRequest(example, isHttp ? "http" : "tcp")}${formatPast(source)}`;
}

function formatPast({ sender, isPastWaypoint, isPastSidecar, workloads: [first] }: Source): string {
  if (isPastWaypoint === true && sender === "proxy") return " through a sidecar, which does not use the waypoint,";
  return isPastSidecar === true && first !== undefined ? ` past the sidecar of ${idOf(first)}` : "";
}

/** Why requests have their outcome, to follow its verb: `, by AuthorizationPolicy a/p rule 1`. */
export function formatReason(outcome: Outcome): string {
  const { result, transport, authorization } = outcome;
  const last = transport.at(-1);
  if (result === "accepted" || result === "denied") return `, ${reasonOfDecision(authorization, last)}`;
  if (result === "refused") return `: ${last === undefined ? "" : formatTransport(last)}`;
  const open = [reasonOfWay(outcome), ...[...transport, ...authorization].map(doubtOf)];
  return `: ${open.find((because) => because !== undefined) ?? "there is no destination"}`;
}

const doubtOf = ({ result, because }: TransportOutcome | AuthorizationOutcome): string | undefined =>
  result === "undecided" ? because : undefined;

/** Why requests are denied, or by which rules they are allowed: `by AuthorizationPolicy a/p rule 1`. */
function reasonOfDecision(authorization: readonly AuthorizationOutcome[], way: TransportOutcome | undefined): string {
  const last = authorization.at(-1);
  if (last === undefined)
    return way?.to === "outside"
      ? "because it leaves the mesh, which decides nothing about it"
      : "because nothing enforces policies there";
  if (last.result !== "allowed") return formatDecision(last);
  const deciding = authorization.filter(({ by }) => by !== undefined);
  if (deciding.length < 2) return formatDecision(deciding[0] ?? last);
  return deciding.map((one) => `${formatDecision(one)} at ${shownPoint(one.at)}`).join(" and ");
}

/** Why one place decides as it does. */
export const formatDecision = (decision: AuthorizationOutcome): string =>
  `${reasonOf(decision)}${decision.note === undefined ? "" : `; ${decision.note}`}`;

function reasonOf({ result, by, policies, because, at }: AuthorizationOutcome): string {
  if (because !== undefined && result !== "allowed") return `because ${because}`;
  if (by !== undefined) return `by ${formatRule(by)}`;
  if (result === "allowed") return "because no ALLOW policy applies";
  const names = policies.map(idOf).sort();
  const shown = names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
  return `because no rule of the ALLOW policies at ${shownPoint(at)} matches: ${shown}`;
}

const sent = {
  auto: sentByAuto(true),
  plaintext: "plaintext",
  tls: "TLS of its own",
  mtls: "mTLS",
} as const;

/** What becomes of a connection: `the client sends plaintext, and the server requires mTLS (PeerAuthentication a/strict)`. */
export function formatTransport({ to, result, tls, mode, rule, because }: TransportOutcome): string {
  const client = `the client sends ${sentTo(mode, tls, because)}${inBrackets(rule)}`;
  if (result === "undecided") return because ?? client;
  if (result === "refused") return `${client}, and ${because ?? `the server ${refusal(mode)}`}`;
  if (to === "outside") return `${leaving[result]}${result === "passed" ? "" : bySetting(rule)}`;
  if (result === "tls") return `TLS${bySetting(rule)}`;
  return `${result === "mtls" ? "mTLS" : "plaintext"}${because === undefined ? "" : `, because ${because}`}`;
}

/**
 * Auto mTLS suits what requires mTLS, so that it is off where a client is refused there; a port that bypasses the proxy of the server gets
 * the mTLS which the pod supports.
 */
function sentTo(mode: TransportOutcome["mode"], tls: TransportOutcome["tls"], because: string | undefined): string {
  if (tls !== "auto" || because !== undefined) return sent[tls];
  return mode?.mode === "STRICT" ? sentByAuto(false) : sent.mtls;
}

const leaving = {
  mtls: "mTLS",
  plaintext: "plaintext, out of the mesh",
  tls: "TLS, out of the mesh",
  passed: "what the application sends is passed on, out of the mesh",
} as const;
const bySetting = (rule: AnyObject | undefined): string => (rule === undefined ? "" : `, as ${idOf(rule)} says`);

function refusal(mode: TransportOutcome["mode"]): string {
  if (mode?.mode === "STRICT") return `requires mTLS${inBrackets(mode.by)}`;
  return mode === undefined
    ? "has no proxy that supports it at this port"
    : `does not support it${inBrackets(mode.by)}`;
}

const inBrackets = (object: AnyObject | undefined): string => (object === undefined ? "" : ` (${idOf(object)})`);

/** Where policies are enforced, in a sentence: `the sidecar`. */
const shownPoint = (at: AuthorizationOutcome["at"]): string => (at === "ztunnel" ? at : `the ${at}`);
