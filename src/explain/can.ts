import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Box, everyRequest } from "../mesh/authorization/requests/boxes.ts";
import type { Clauses } from "../mesh/authorization/requests/matches.ts";
import { Undecided, Work } from "../mesh/authorization/requests/work.ts";
import type { Sender } from "../mesh/membership/clients.ts";
import { conditionsBeyond, formatConditions } from "../mesh/requests/box-wording.ts";
import type { Outcome } from "../mesh/requests/outcome.ts";
import { hostSentTo, outcomesOfEntry } from "../mesh/requests/entry.ts";
import { type EntryHost, frontOf } from "../mesh/requests/front.ts";
import { outcomeByIngress } from "../mesh/requests/ingress-routes.ts";
import { outcomesOf } from "../mesh/requests/outcomes.ts";
import type { Caller, Question, Target } from "../mesh/requests/question.ts";
import { formatExample, formatReason } from "../mesh/requests/wording.ts";
import type { Answer, AnswerPart, Verdict } from "../report/answer.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { callerNotes } from "./caller-notes.ts";
import { knowledgeLines } from "./explanation.ts";
import { shareInWords, wayOf } from "./way-of-requests.ts";
import { listed, listedNames } from "./wording.ts";

/** The kinds that an answer depends on. */
const kindsNeeded: readonly Kind[] = [
  "Namespace",
  "Workload",
  "Service",
  "ServiceEntry",
  "VirtualService",
  "DestinationRule",
  "Sidecar",
  "PeerAuthentication",
  "AuthorizationPolicy",
  "RequestAuthentication",
  "KubernetesGateway",
  "KubernetesRoute",
  "EnvoyFilter",
];

/** The requests with these conditions; a text: why there are none that can be asked about. */
export function requestsWith(clauses: Clauses): Box | string {
  try {
    const box = everyRequest.withAll(clauses, new Work(100_000));
    return box ?? "the conditions contradict each other, so that no request meets them all";
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    return "the conditions have so many values and wildcards that they cannot be compared; give fewer of them";
  }
}

/** A person waits for the answer, so that it may take longer than a question of a rule: a second or two. */
const mostWork = 5_000_000;

/** A question about a target in the mesh, or about a host that gateways offer to the outside. */
export type AskedQuestion = Omit<Question, "to"> & { readonly to: Target | EntryHost };

function outcomesFor({ caller, to, requests }: AskedQuestion, mesh: Mesh): Iterable<Outcome> {
  if (to.kind !== "entry") return outcomesOf({ caller, to, requests }, mesh, { limit: mostWork });
  const open = outcomeByIngress(to, requests, mesh);
  if (open !== undefined) return [open];
  return outcomesOfEntry({ to, front: frontOf(to.host, mesh) }, requests, mesh, { limit: mostWork });
}

/** What becomes of requests, with the whole way of each part of them. `mesh` is one side of a change, so that facts are computed once. */
export function answerTo(question: AskedQuestion, mesh: Mesh): Answer {
  const { caller, to, requests } = question;
  const outcomes = [...outcomesFor(question, mesh)];
  const [from, target] = [formatCaller(caller), formatTarget(to)];
  const asked = formatConditions(requests.clauses);
  const unknown = kindsNeeded.filter((kind) => !mesh.knows(kind));
  const sent = to.kind === "entry" ? requestsWith([...requests.clauses, ...hostSentTo(to)]) : requests;
  const base = typeof sent === "string" ? question : { ...question, requests: sent };
  const parts = partsOf(outcomes, base);
  const verdict = verdictOf(outcomes);
  return {
    title: `${asked === "" ? "Requests" : asked} from ${from} to ${target}:${to.port}`,
    verdict,
    text: verdictText(verdict, outcomes, base),
    before: null,
    question: { from, to: target, port: to.port, requests: asked },
    parts,
    notes: [...callerNotes(question, outcomes, mesh), ...knowledgeLines(mesh, unknown)],
    unknown,
  };
}

/** The answer as a tree of lines, with the verdict in its title. */
export const titleOfAnswer = ({ title, text }: Answer): string => `${title}: ${text}`;

/** A caller in words: `namespace web`. */
export function formatCaller(caller: Caller): string {
  if (caller.kind === "workload") return idOf(caller.workload);
  if (caller.kind === "namespace") return `namespace ${caller.namespace.metadata.name}`;
  if (caller.kind === "serviceAccount") return `service account ${caller.namespace.metadata.name}/${caller.name}`;
  if (caller.kind === "ingress")
    return listedNames(
      caller.proxies.map(({ name }) => name),
      3,
    );
  return caller.kind === "mesh" ? "anybody in the mesh" : "outside the mesh";
}

const formatTarget = (to: AskedQuestion["to"]): string =>
  to.kind === "entry" || to.kind === "host"
    ? `${to.kind === "entry" ? `${to.scheme}://` : ""}${to.host}`
    : to.kind === "service"
      ? `${to.service.metadata.name}.${to.namespace.metadata.name}`
      : listed(to.workloads, 3);

function verdictOf(outcomes: readonly Outcome[]): Verdict {
  const results = new Set(outcomes.map(({ result }) => result));
  const isOpen = results.delete("undecided");
  const isAccepted = results.delete("accepted");
  if (isAccepted && results.size > 0) return "partly";
  if (isOpen || outcomes.length === 0) return "undecided";
  return isAccepted ? "yes" : "no";
}

function verdictText(verdict: Verdict, outcomes: readonly Outcome[], question: AskedQuestion): string {
  const of = (...results: readonly Outcome["result"][]) => outcomes.filter(({ result }) => results.includes(result));
  if (verdict === "yes") return "yes";
  if (verdict === "partly") return `some: ${inWords(of("accepted"), question)} only`;
  if (outcomes.length === 0) return "undecided: no such caller is known";
  const [first] = verdict === "no" ? outcomes : of("undecided");
  const reason = first === undefined ? "" : formatReason(first);
  if (verdict === "undecided") return `undecided${reason}`;
  return first === undefined ? "no" : `no: ${results[first.result]}${reason}`;
}

const mostNamed = 3;

/** Several sets of requests in words, beyond what the question says. */
function inWords(outcomes: readonly Outcome[], question: AskedQuestion): string {
  const shares = new Map<string, number>();
  for (const outcome of outcomes) {
    const of = requestsOf(outcome, question, true);
    shares.set(of, (shares.get(of) ?? 0) + (outcome.destination?.share ?? 1));
  }
  const names = [...shares].map(([of, share]) => {
    const isAll = share > 0.9999;
    return isAll ? of || "any request" : `${shareInWords(share)} of ${asRequests(of)}`;
  });
  return names.length > mostNamed
    ? `${names.slice(0, mostNamed).join("; ")} and ${names.length - mostNamed} other sets of requests`
    : names.join("; ");
}

/** What comes after "of": who sends requests, or where they go, does not say that they are requests. */
function asRequests(of: string): string {
  if (of === "") return "all of them";
  return /^(?:from|at) /.test(of) ? `the requests ${of}` : of;
}

/** The conditions of an outcome that the question does not have already. */
function requestsOf(
  { requests, source, workloads, destination, hops }: Outcome,
  question: AskedQuestion,
  isWhole: boolean,
): string {
  const base = requestsWith([...question.requests.clauses, ...source.identity]);
  const own = formatConditions(conditionsBeyond(requests, typeof base === "string" ? question.requests : base));
  if (!isWhole) return own;
  // What a set of requests alone does not tell: who sends them, and which pod they reach.
  const shown = [own];
  if (question.caller.kind === "namespace" || question.caller.kind === "mesh") shown.push(sourceInWords(source));
  const reached = hops.length === 0 ? destination : hops.at(-1)?.destination;
  const isDivided = reached !== undefined && workloads.length > 0 && workloads.length < reached.workloads.length;
  if (isDivided) shown.push(`at ${listed(workloads, mostNamed)}`);
  return shown.filter((part) => part !== "").join(" ");
}

const senders: Readonly<Record<Sender, string>> = {
  proxy: "through a sidecar",
  ztunnel: "through ztunnel",
  nothing: "without a sidecar, in plaintext",
  unknown: "in a way that is not known",
};

function sourceInWords({ sender, namespace, workloads, isGateway }: Outcome["source"]): string {
  const who = workloads.length > 0 ? listed(workloads, mostNamed) : namespaceInWords(namespace?.metadata.name);
  return `from ${who}${isGateway ? "" : ` ${senders[sender]}`}`;
}
const namespaceInWords = (name: string | undefined): string =>
  name === undefined ? "the rest of the mesh" : `namespace ${name}`;

/** Outcomes with the same way, whoever sends them. */
interface Group {
  readonly first: Outcome;
  readonly lines: readonly ExplanationLine[];
  readonly requests: Set<string>;
  readonly sources: Set<Outcome["source"]>;
}

function partsOf(outcomes: readonly Outcome[], question: AskedQuestion): readonly AnswerPart[] {
  const groups = new Map<string, Group>();
  for (const outcome of outcomes) {
    const { result, destination, workloads, source } = outcome;
    const lines = wayOf(outcome);
    const key = JSON.stringify([result, destination?.share, workloads.map(idOf), lines.map(textOfLine)]);
    const group = groups.get(key) ?? { first: outcome, lines, requests: new Set<string>(), sources: new Set() };
    groups.set(key, group);
    group.requests.add(requestsOf(outcome, question, false));
    group.sources.add(source);
  }
  return [...groups.values()].map((group) => partOf(group, question.caller));
}

const textOfLine = ({ text, lines = [] }: ExplanationLine): unknown => [text, lines.map(textOfLine)];

const results: Readonly<Record<Outcome["result"], string>> = {
  accepted: "allowed",
  denied: "denied",
  refused: "refused",
  nowhere: "reach nothing",
  undecided: "undecided",
};

function partOf({ first: outcome, lines, requests: all, sources }: Group, caller: Caller): AnswerPart {
  const { result, destination, source, workloads } = outcome;
  const requests = [...all];
  const from = [...sources].flatMap((one) => one.workloads);
  const share = destination?.share ?? 1;
  const objects = decidingObjects(outcome);
  const shown =
    requests.length > mostNamed
      ? [...requests.slice(0, mostNamed), `${requests.length - mostNamed} more sets`]
      : requests;
  const what = shown.map((one) => one || "all of them").join("; ");
  const text = `${share === 1 ? "" : `${shareInWords(share)} of `}${what}: ${results[result]}`;
  return {
    result,
    requests: requests.filter((one) => one !== ""),
    example: formatExample(outcome),
    sender: source.sender,
    from,
    share,
    workloads,
    objects,
    line: {
      key: "part",
      of: what,
      text,
      value: result,
      objects,
      lines: [...sourceLines([...sources], caller), ...lines],
    },
  };
}

/** The objects whose change would change the outcome first. */
function decidingObjects({ route, destination, transport, authorization, hops }: Outcome): readonly AnyObject[] {
  return [
    ...new Set([
      ...[route.virtualService, route.httpRoute].filter((one) => one !== undefined),
      ...(destination?.rules ?? []),
      ...hops.flatMap((hop) => [
        ...[hop.route.gateway, hop.route.virtualService, hop.route.httpRoute].filter((one) => one !== undefined),
        ...(hop.destination?.rules ?? []),
      ]),
      ...transport.flatMap(({ rule, mode, waypoint }) =>
        [rule, mode?.by, waypoint?.gateway].filter((one) => one !== undefined),
      ),
      ...authorization.flatMap(({ by, policies }) => [...(by === undefined ? [] : [by.policy]), ...policies]),
    ]),
  ];
}

/** Where it is not the caller itself that says who sends. */
function sourceLines(sources: readonly Outcome["source"][], { kind }: Caller): readonly ExplanationLine[] {
  if (kind === "workload" || kind === "outside") return [];
  const shown = [...new Set(sources.map(sourceInWords))];
  return [
    {
      key: "source",
      text: `Sent ${listedNames(shown, mostNamed)}`,
      value: [...new Set(sources.map(({ sender }) => sender))],
      objects: sources.flatMap(({ workloads }) => workloads),
    },
  ];
}
