// Whether the sidecar of a client lets a request out to a host, read from Istio's API as plainly as possible: one name, one port, no
// routes. It is the second opinion for src/mesh/requests/entry-choice.ts and client-scope.ts.

export interface PlainEntry {
  readonly namespace: string;
  readonly host: string;
  readonly port: number;
  readonly exportTo: readonly string[];
}
export interface PlainSidecar {
  readonly namespace: string;
  /** Of `egress.hosts`; empty: everything is imported. */
  readonly imports: readonly string[];
  /** Undefined: as the mesh config says. */
  readonly isRegistryOnly: boolean | undefined;
}
export interface PlainHosts {
  readonly entries: readonly PlainEntry[];
  readonly sidecar: PlainSidecar | undefined;
  readonly isRegistryOnly: boolean;
}

/** `known`: the proxy has the port of the host; `passed`: it passes requests on to whatever address they are for. */
export function sentTo(
  client: string,
  { host, port }: { readonly host: string; readonly port: number },
  { entries, sidecar, isRegistryOnly }: PlainHosts,
): "known" | "passed" | "refused" {
  const own = sidecar?.namespace === client ? sidecar : undefined;
  const isKnown = ["exact", "wildcard"].some((kind) => {
    const named = entries.filter(
      (entry) =>
        (kind === "exact" ? entry.host === host : entry.host !== host && isNamed(entry.host, host)) &&
        isExported(entry, client) &&
        isImported(entry, client, own),
    );
    // A proxy takes a name from one namespace: its own, then those that export to it by name, then by their names.
    const [first] = named.toSorted((a, b) => rank(a, client) - rank(b, client) || (a.namespace < b.namespace ? -1 : 1));
    return named.some((entry) => entry.namespace === first?.namespace && entry.port === port);
  });
  if (isKnown) return "known";
  return (own?.isRegistryOnly ?? isRegistryOnly) ? "refused" : "passed";
}

function rank({ namespace, exportTo }: PlainEntry, client: string): number {
  if (namespace === client) return 0;
  return exportTo.length === 0 || exportTo.includes("*") ? 2 : 1;
}

const isNamed = (name: string, host: string): boolean =>
  name.startsWith("*.") ? host.endsWith(name.slice(1)) : name === host;

function isExported({ namespace, exportTo }: PlainEntry, client: string): boolean {
  if (exportTo.length === 0 || exportTo.includes("*")) return true;
  if (exportTo.includes("~")) return false;
  return exportTo.some((to) => (to === "." ? namespace : to) === client);
}

function isImported({ namespace, host }: PlainEntry, client: string, sidecar: PlainSidecar | undefined): boolean {
  if (sidecar === undefined || sidecar.imports.length === 0) return true;
  return sidecar.imports.some((one) => {
    const [place = "", name = ""] = one.split("/");
    const isThere = place === "*" || (place === "." ? client : place) === namespace;
    return isThere && (name === "*" || name === host || (name.startsWith("*.") && host.endsWith(name.slice(1))));
  });
}
