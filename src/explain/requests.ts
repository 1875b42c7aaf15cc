import { idOf } from "../kube/identity.ts";
import { type ClientTls, type Fit, sentByAuto } from "../mesh/client-tls/client-tls.ts";
import { anyPort } from "../mesh/client-tls/destinations.ts";
import type { Request, RequestAnswer, RequestOutcome } from "../mesh/client-tls/requests.ts";
import type { Sender } from "../mesh/membership/clients.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import { listed } from "./wording.ts";

const fits: Readonly<Record<Fit, string>> = {
  mtls: "mTLS",
  plaintext: "plaintext",
  "passed on": "TLS of the client, which the application must terminate",
  refused: "refused",
};
const sends: Readonly<Record<ClientTls, string>> = {
  auto: sentByAuto(true),
  plaintext: "plaintext",
  tls: "their own TLS",
  mtls: "mTLS",
};
const shownSenders: Readonly<Record<Sender, string>> = {
  proxy: "clients with a proxy",
  ztunnel: "ambient clients",
  nothing: "clients outside the mesh",
  unknown: "clients",
};

/** The result of a request to a port: the TLS of the client, and the mode of the server. */
export function requestLine({ port, subset, answers }: Request): ExplanationLine {
  const isOne = answers.length === 1;
  const rules = new Set(answers.flatMap(({ rule, policy }) => rule ?? policy ?? []));
  const where = `${port === anyPort ? "any port" : `port ${port}`}${subset === undefined ? "" : ` of subset ${subset}`}`;
  return {
    key: "request",
    of: subset === undefined ? String(port) : `${port} ${subset}`,
    text: `A request to ${where}: ${answers.map((answer) => shownAnswer(answer, isOne)).join("; ")}`,
    value: [...new Set(answers.flatMap(({ outcomes }) => outcomes.map(({ fit }) => fit)))],
    ...(rules.size === 0 ? {} : { objects: [...rules] }),
  };
}

function shownAnswer(answer: RequestAnswer, isOne: boolean): string {
  const { sender, labels, tls, isAutoDisabled, outcomes } = answer;
  const shown = outcomes.map((outcome) =>
    outcomes.length === 1 ? shownOutcome(outcome) : `${shownOutcome(outcome)} at ${listed(outcome.workloads, 2)}`,
  );
  const which = labels === undefined ? "" : ` with ${formatLabels(labels) || "any labels"}`;
  const who = isOne ? "clients" : shownSenders[sender];
  return `${shown.join(", ")} (${who}${which} send ${isAutoDisabled ? sentByAuto(false) : sends[tls]}${because(answer)})`;
}

const shownOutcome = ({ fit, isTunnelled }: RequestOutcome): string =>
  isTunnelled ? `${fits[fit]}, because HBONE takes precedence over the client's TLS setting` : fits[fit];

function because({ sender, rule, policy, tls, disabledBy, isHidden }: RequestAnswer): string {
  if (isHidden) return ", past the mesh, because no Sidecar of their namespace imports the host";
  if (sender === "nothing") return " because they have no proxy";
  if (disabledBy !== undefined) return `, because ${idOf(disabledBy)} sets mode DISABLE for the namespace`;
  const by = rule ?? policy;
  return by === undefined || tls === "auto" ? "" : `, by ${idOf(by)}`;
}
