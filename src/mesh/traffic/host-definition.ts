import { byId, keyFor } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { Mesh } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { destinationRulesOfHost } from "./destination-rule-choices.ts";
import { serviceEntriesOfVirtualService, serviceNamespaces } from "./destination-rules.ts";
import { includesNamespace } from "./export-to.ts";
import { type Definition, definitionsFor, serviceVisibleTo } from "./definition-choice.ts";
import { coveringHosts, covers, isWildcard, namespaceOfHost } from "./hosts.ts";
import { virtualServicesOfHost } from "./virtual-service-choices.ts";

export type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A host, and the objects that define it, sorted by name. */
export interface Host {
  readonly host: string;
  readonly service: Service | undefined;
  readonly entries: readonly ServiceEntry[];
}

/** Looks up a full host: the Service of its name, and the ServiceEntries that match it. */
export function hostIn(mesh: Mesh, host: string): Host {
  const namespace = namespaceOfHost(host, mesh.settings.domain);
  const found =
    namespace === undefined
      ? undefined
      : mesh.find("Service", keyFor("Service", { originKind: "Service", namespace, name: host.split(".")[0] ?? "" }));
  const entries = mesh.lookup(serviceEntriesOfVirtualService.to, coveringHosts(host)) as readonly ServiceEntry[];
  return {
    host,
    service: found?.kind === "Service" ? found : undefined,
    entries: entries.filter(({ spec }) => spec.hosts.some((own) => covers(own, host))).sort(byId),
  };
}

/** Whether any object refers to a host: one that defines it, or one that is configured for its exact name. */
export function isSpokenOf({ host, service, entries }: Host, mesh: Mesh): boolean {
  if (service !== undefined || entries.length > 0) return true;
  return (
    destinationRulesOfHost(host, mesh).some(({ spec }) => !isWildcard(spec.host)) ||
    virtualServicesOfHost(host, mesh).some(({ spec }) => !spec.hosts.some(isWildcard))
  );
}

/** The possible namespaces of a host's service, the most likely first; empty: none is known. */
export const namespacesOfDefinition = (
  { host, service, entries }: Host,
  settings: MeshSettings,
): ReadonlySet<string> =>
  service === undefined ? serviceNamespaces(host, entries, settings) : new Set([service.metadata.namespace]);

/** The objects that define a host and are not exported to clients in a namespace. */
export const hiddenDefinitions = (
  { service, entries }: Host,
  client: string,
  settings: MeshSettings,
): readonly (Service | ServiceEntry)[] =>
  [...(service ? [service] : []), ...entries].filter(
    (object) => !includesNamespace(serviceVisibleTo(object, settings), client),
  );

/** The host as clients in a namespace see it: without definitions for which another one takes precedence there. */
export function hostFor(client: string, host: Host, settings: MeshSettings): Host {
  const named = host.entries.filter(({ spec }) => spec.hosts.includes(host.host));
  const definitions: readonly Definition[] = [...(host.service ? [host.service] : []), ...named];
  const used = new Set(definitionsFor(client, definitions, settings));
  if (used.size === 0) return host;
  const isUsed = (one: Definition) => used.has(one);
  return {
    host: host.host,
    service: host.service && isUsed(host.service) ? host.service : undefined,
    entries: host.entries.filter(isUsed),
  };
}
