import { idOf } from "../kube/identity.ts";
import type { RouteOrigin } from "../mesh/gateways/converted-rules.ts";
import { type ListedRule, type RuleTable, ruleTablesForHost } from "../mesh/gateways/kubernetes-route-tables.ts";
import { ruleMatchInWords } from "../mesh/gateways/rule-wording.ts";
import type { Service } from "../mesh/membership/services.ts";
import { doubtOfParent, rulesOfParent } from "../mesh/requests/parent-rules.ts";
import { shareOf } from "../mesh/traffic/virtual-services.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { triedInWords } from "./gateway.ts";
import { attemptsOf, defaultRetriesLine, isMissing } from "./virtual-services.ts";

/** The rules for one host at one port of a Gateway. */
export const ruleTableLine = ({ port, host, rules }: RuleTable, mesh: Mesh): ExplanationLine => ({
  key: "routes",
  of: `${host}:${port}`,
  text: `Requests for ${host === "*" ? "every other host" : host} on port ${port} ${triedInWords(rules.length, "rule")}`,
  value: rules.length,
  lines: rules.map((one) => ruleLine(one, mesh)),
});

const placeOf = ({ object, i }: RouteOrigin): string => `${idOf(object)} rules[${i}]`;

function ruleLine(listed: ListedRule, mesh: Mesh): ExplanationLine {
  const { origin, route, by } = listed;
  const place = placeOf(origin);
  const inWords = ruleMatchInWords(origin);
  const matched = inWords === undefined ? "" : ` for ${inWords}`;
  const taken = by === undefined ? "" : `; no request reaches it, because ${placeOf(by)} takes them`;
  return {
    key: "routes.rule",
    of: `${place}${matched}`,
    text: `${place}${matched}: ${answerOf(listed, mesh)}${attemptsOf(route, mesh.settings)}${taken}`,
    ...(by === undefined ? {} : { counts: false }),
    objects: [origin.object],
  };
}

function answerOf({ route, refused, origin }: ListedRule, mesh: Mesh): string {
  if (route.redirect !== undefined) return "redirects";
  const { status } = route.directResponse ?? {};
  if (status !== undefined) return `no backend with a weight above 0: ${status}`;
  const written = { destinations: route.route };
  const shown = route.route.map((weighted) => {
    const { host, port } = weighted.destination;
    const share = Math.round(shareOf(weighted, written) * 1000) / 10;
    const because = refused.get(weighted) ?? (isMissing(host, origin.object, mesh) ? "no such host" : undefined);
    return `${share}% to ${host}:${port?.number ?? "?"}${because === undefined ? "" : ` (${because}: 500)`}`;
  });
  return shown.join(", ");
}

/** What counts for rules that set neither a timeout nor retries; nothing if each sets both. */
export const ruleDefaultLines = (rules: readonly ListedRule[], mesh: Mesh): readonly ExplanationLine[] =>
  rules.some(({ route }) => route.route.length > 0 && !(route.timeout && route.retries))
    ? [defaultRetriesLine("routes.defaults", "rule", mesh.settings)]
    : [];

/** The rules of routes that have the Service itself as their parent, for proxies of a namespace. */
export function parentRuleLines(
  service: Service,
  proxy: Parameters<typeof rulesOfParent>[1],
  mesh: Mesh,
): readonly ExplanationLine[] {
  const doubt = doubtOfParent(service, mesh);
  if (doubt !== undefined)
    return [{ key: "routes", text: `It is not known which routes count: ${doubt}`, value: "unknown" }];
  return rulesOfParent(service, proxy, mesh).map(({ port, rules }) => ({
    key: "routes",
    of: String(port),
    text: `Requests to port ${port} ${triedInWords(rules.length, "rule")}`,
    value: rules.length,
    lines: [...rules.map((one) => ruleLine(one, mesh)), ...ruleDefaultLines(rules, mesh)],
  }));
}

/** The rules for a host at the Gateways of the Gateway API that istiod runs. */
export const kubernetesGatewayLines = (host: string, mesh: Mesh): readonly ExplanationLine[] =>
  ruleTablesForHost(host, mesh).map(({ gateway, tables }) => ({
    key: "gateway",
    of: idOf(gateway),
    text: `At ${idOf(gateway)} of the Gateway API:`,
    value: tables.length,
    objects: [gateway],
    lines: tables.map((table) => ruleTableLine(table, mesh)),
  }));
