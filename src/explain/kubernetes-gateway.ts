import { idOf } from "../kube/identity.ts";
import { type BoundRoute, proxiesOfKubernetesGateway, routesBoundTo } from "../mesh/gateways/bound-routes.ts";
import type { RouteOrigin } from "../mesh/gateways/converted-rules.ts";
import {
  listenerLeftOut,
  type ListedRule,
  type RuleTable,
  ruleTablesOf,
} from "../mesh/gateways/kubernetes-route-tables.ts";
import { type ListenerGateway, listenerGateways } from "../mesh/gateways/listener-gateways.ts";
import { ruleMatchInWords } from "../mesh/gateways/rule-wording.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../mesh/membership/gateways.ts";
import { shareOf } from "../mesh/traffic/virtual-services.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { proxiesLine, triedInWords } from "./gateway.ts";
import { attemptsOf, defaultRetriesLine, isMissing } from "./virtual-services.ts";
import { listedNames } from "./wording.ts";

/**
 * Explains a Gateway of the Gateway API: its proxies, its listeners, the routes that name it, and the rules of each host as
 * requests try them.
 */
export function explainKubernetesGateway(gateway: KubernetesGateway, mesh: Mesh): readonly ExplanationLine[] {
  const routes = routesBoundTo(gateway, mesh);
  const { gatewayClassName } = gateway.spec;
  const isOfIstio = hasClassOfIstio(gateway);
  const who = isOfIstio ? "" : ", which is none of Istio's: another controller decides about it";
  return [
    { key: "class", text: `Class ${gatewayClassName}${who}`, value: gatewayClassName },
    proxiesLine(
      proxiesOfKubernetesGateway(gateway, mesh),
      "that istiod runs for it",
      "istiod creates them with the Gateway, if its class is one of Istio",
      mesh,
    ),
    ...listenerGateways(gateway).map((one) => listenerLine(one, isOfIstio, mesh)),
    {
      key: "routes",
      text: `Routes that name it: ${routes.length === 0 ? "none" : routes.length}`,
      value: routes.length,
      lines: routes.map(routeLine),
    },
    ...(isOfIstio ? tableLines(gateway, mesh) : []),
  ];
}

const allowedFrom: Readonly<Record<string, string>> = {
  Same: "its own namespace",
  All: "all namespaces",
  Selector: "namespaces with the labels of its selector",
};

type Listener = ListenerGateway["listener"];
const allowedNamespaces = ({ allowedRoutes }: Listener): string => allowedRoutes?.namespaces?.from ?? "Same";

function listenerLine(one: ListenerGateway, isOfIstio: boolean, mesh: Mesh): ExplanationLine {
  const { listener } = one;
  const { name, port = 0, protocol = "?", hostname, tls } = listener;
  const from = allowedNamespaces(listener);
  const shownTls = tls === undefined ? "" : `; TLS ${tls.mode || "Terminate"}`;
  const because = isOfIstio ? listenerLeftOut(one, mesh) : undefined;
  return {
    key: "listener",
    of: name,
    text: `Listener ${name}, port ${port} ${protocol}: ${hostname || "every host"}${shownTls}; routes of ${allowedFrom[from] ?? from}`,
    value: hostname || "*",
    ...(because === undefined
      ? {}
      : {
          counts: false,
          lines: [{ key: "listener.leftOut", of: name, text: `istiod leaves it out: ${because}`, value: because }],
        }),
  };
}

function routeLine({ route, result, offered }: BoundRoute): ExplanationLine {
  const hosts = offered.includes("*") ? "every host of its listeners" : listedNames(offered);
  const reasons: Readonly<Record<NonNullable<typeof result> | "no listener", string>> = {
    accepted: `is accepted for ${hosts}`,
    host: `has no effect: no listener offers ${listedNames(route.spec.hostnames)}`,
    kind: `has no effect: no listener for its hosts accepts a ${route.originKind}`,
    namespace: `has no effect: no listener for its hosts accepts routes of namespace ${route.metadata.namespace}`,
    "unknown namespace": `is accepted for ${hosts} if namespace ${route.metadata.namespace} has the labels of the selector, which are not known`,
    "no listener": "has no effect: it names a listener that does not exist",
  };
  const because = result ?? "no listener";
  return objectLine("route", route, `${idOf(route)} ${reasons[because]}`, {
    value: because,
    counts: because === "accepted" || because === "unknown namespace",
  });
}

/** The rules of each host, as requests try them, and the routes of which istiod uses none. */
function tableLines(gateway: KubernetesGateway, mesh: Mesh): readonly ExplanationLine[] {
  const { tables, dropped } = ruleTablesOf(gateway, mesh);
  const all = tables.flatMap(({ rules }) => rules);
  return [
    ...dropped.map(({ route, because }) =>
      objectLine("route.dropped", route, `No rule of ${idOf(route)} is used: ${because}`, {
        value: because,
        counts: false,
      }),
    ),
    ...tables.map((table) => tableLine(table, mesh)),
    ...(all.some(({ route }) => route.route.length > 0 && !(route.timeout && route.retries))
      ? [defaultRetriesLine("routes.defaults", "rule", mesh.settings)]
      : []),
  ];
}

const tableLine = ({ port, host, rules }: RuleTable, mesh: Mesh): ExplanationLine => ({
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
