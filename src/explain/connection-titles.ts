import { urlOf, type GatewayEntry } from "../mesh/connections/entries.ts";
import type { ReachablePort, Scope } from "../mesh/connections/targets.ts";
import type { ReportedPort } from "../report/connections.ts";
import { listedNames } from "./wording.ts";

/** Titles of groups of ports. */
export class Titles {
  readonly #perNamespace: ReadonlyMap<string, number>;

  constructor(all: readonly ReachablePort[], scope: Scope) {
    const counts = Map.groupBy(
      scope.kind === "service" || scope.kind === "host" ? [] : all,
      ({ namespace }) => namespace,
    );
    this.#perNamespace = new Map([...counts].map(([namespace, { length }]) => [namespace, length]));
  }

  of(ports: readonly ReachablePort[]): { readonly title: string; readonly ports: readonly ReportedPort[] } {
    const byNamespace = Map.groupBy(ports, ({ namespace }) => namespace);
    const [whole, others]: [string[], ReachablePort[]] = [[], []];
    for (const [namespace, own] of byNamespace)
      if (own.length > fewPorts && own.length === this.#perNamespace.get(namespace)) whole.push(namespace);
      else others.push(...own);
    const count = whole.reduce((sum, namespace) => sum + (this.#perNamespace.get(namespace) ?? 0), 0);
    const everythingIn =
      whole.length === 0
        ? []
        : [`everything in ${whole.length === 1 ? "namespace" : "namespaces"} ${listedNames(whole)} (${count} ports)`];
    const names = [...Map.groupBy(others, nameOf)].map(
      ([name, some]) => `${name}:${some.map(({ port }) => port).join(",")}`,
    );
    return {
      title: [...everythingIn, ...(names.length === 0 ? [] : [listedNames(names)])].join(", "),
      ports: ports.map(({ kind, namespace, name, port }) => ({ kind, namespace, name, port })),
    };
  }
}

/** So many ports are listed even if the namespace has no others. */
const fewPorts = 2;

export const nameOf = ({ kind, namespace, name }: ReachablePort): string =>
  kind === "ServiceEntry"
    ? name
    : kind === "Service"
      ? `${name}.${namespace}`
      : `${kind.toLowerCase()}/${namespace}/${name}`;

/** The title of hosts that Gateways offer: `https://shop.example.com by Gateway edge/public`. */
export function titleOfEntries(entries: readonly GatewayEntry[]): {
  readonly title: string;
  readonly ports: readonly ReportedPort[];
} {
  const byGateway = Map.groupBy(entries, ({ namespace, name }) => `Gateway ${namespace}/${name}`);
  const names = [...byGateway].map(([gateway, some]) => `${listedNames(some.map(urlOf))} by ${gateway}`);
  return {
    title: names.join("; "),
    ports: entries.map((entry) => {
      const { namespace, name, port } = entry;
      return { kind: "Gateway", namespace, name, port, url: urlOf(entry) };
    }),
  };
}
