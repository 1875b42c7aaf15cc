import { idOf } from "../kube/identity.ts";
import { type BoundRoute, proxiesOfKubernetesGateway, routesBoundTo } from "../mesh/gateways/bound-routes.ts";
import { listenerLeftOut, ruleTablesOf } from "../mesh/gateways/kubernetes-route-tables.ts";
import { allowsListenerSet, listenerSetsOfGateway, listenersOfGateway } from "../mesh/gateways/listener-sets.ts";
import type { ListenerGateway } from "../mesh/gateways/listener-gateways.ts";
import { hasClassOfIstio, isOfUnknownController, type KubernetesGateway } from "../mesh/membership/gateways.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { proxiesLine } from "./gateway.ts";
import { ruleDefaultLines, ruleTableLine } from "./rule-lines.ts";
import { listedNames } from "./wording.ts";

/**
 * Explains a Gateway of the Gateway API: its proxies, its listeners and those of its ListenerSets, the routes that name them, and the rules of each host as
 * requests try them.
 */
export function explainKubernetesGateway(gateway: KubernetesGateway, mesh: Mesh): readonly ExplanationLine[] {
  const routes = routesBoundTo(gateway, mesh);
  const listeners = mesh.get(listenersOfGateway, gateway);
  const { gatewayClassName } = gateway.spec;
  const isOfIstio = hasClassOfIstio(gateway, mesh.settings);
  return [
    { key: "class", text: `Class ${gatewayClassName}${whose(gateway, mesh)}`, value: gatewayClassName },
    proxiesLine(
      proxiesOfKubernetesGateway(gateway, mesh),
      "that istiod runs for it",
      isOfIstio
        ? "istiod creates them with the Gateway"
        : "istiod creates them, if the class is for one of its controllers",
      mesh,
    ),
    ...listeners.all.map((one) => listenerLine(one, isOfIstio, mesh)),
    ...(listeners.others === undefined
      ? []
      : [
          {
            key: "listeners.others",
            text: `There can be other listeners: ${listeners.others}`,
            value: listeners.others,
          },
        ]),
    ...leftOutSets(gateway, mesh),
    {
      key: "routes",
      text: `Routes that name it: ${routes.length === 0 ? "none" : routes.length}`,
      value: routes.length,
      lines: routes.map(routeLine),
    },
    ...(isOfIstio ? tableLines(gateway, mesh) : []),
  ];
}

/** Who decides about a Gateway, if that is not istiod for certain. */
function whose(gateway: KubernetesGateway, { settings }: Mesh): string {
  if (hasClassOfIstio(gateway, settings)) return "";
  return isOfUnknownController(gateway, settings)
    ? ", whose GatewayClass is not known: whether Istio or another controller decides about it is not known either"
    : ", which is none of Istio's: another controller decides about it";
}

const allowedFrom: Readonly<Record<string, string>> = {
  Same: "its own namespace",
  All: "all namespaces",
  Selector: "namespaces with the labels of its selector",
};

type Listener = ListenerGateway["listener"];
const allowedNamespaces = ({ allowedRoutes }: Listener): string => allowedRoutes?.namespaces?.from ?? "Same";

/** The ListenerSets that name a Gateway which does not allow them. */
const leftOutSets = (gateway: KubernetesGateway, mesh: Mesh): readonly ExplanationLine[] =>
  mesh
    .related(listenerSetsOfGateway, gateway)
    .filter((set) => allowsListenerSet(gateway, set, mesh) === false)
    .map((set) =>
      objectLine("listenerSet", set, `${idOf(set)} adds no listener: the Gateway does not allow it`, {
        value: idOf(set),
        counts: false,
      }),
    );

const titleOf = ({ listener: { name }, owner }: ListenerGateway): string =>
  owner.kind === "ListenerSet" ? `Listener ${name} of ${idOf(owner)}` : `Listener ${name}`;

function listenerLine(one: ListenerGateway, isOfIstio: boolean, mesh: Mesh): ExplanationLine {
  const { listener } = one;
  const { name, port = 0, protocol = "?", hostname, tls } = listener;
  const from = allowedNamespaces(listener);
  const shownTls = tls === undefined ? "" : `; TLS ${tls.mode || "Terminate"}`;
  const because = isOfIstio ? listenerLeftOut(one, mesh) : undefined;
  return {
    key: "listener",
    of: name,
    text: `${titleOf(one)}, port ${port} ${protocol}: ${hostname || "every host"}${shownTls}; routes of ${allowedFrom[from] ?? from}`,
    value: hostname || "*",
    ...(because === undefined ? {} : leftOut(name, because)),
  };
}

const leftOut = (name: string, because: string): Pick<ExplanationLine, "counts" | "lines"> => ({
  counts: false,
  lines: [{ key: "listener.leftOut", of: name, text: `istiod leaves it out: ${because}`, value: because }],
});

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
  return [
    ...dropped.map(({ route, because }) =>
      objectLine("route.dropped", route, `No rule of ${idOf(route)} is used: ${because}`, {
        value: because,
        counts: false,
      }),
    ),
    ...tables.map((table) => ruleTableLine(table, mesh)),
    ...ruleDefaultLines(
      tables.flatMap(({ rules }) => rules),
      mesh,
    ),
  ];
}
