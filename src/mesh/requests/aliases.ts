import { idOf } from "../../kube/identity.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { type Definition, serviceByHost } from "../traffic/definition-choice.ts";
import { coveringHosts, hostOfService } from "../traffic/hosts.ts";
import { type ServiceEntry, serviceEntryByHost } from "./definitions.ts";

/** Whether a Service is another name for a host (Istio pilot/pkg/serviceregistry/kube/conversion.go ConvertService). */
export const isAlias = ({ spec }: Service): boolean => spec.type === "ExternalName" && (spec.externalName ?? "") !== "";

/** DNS ignores the case and the dot at the end. */
const hostOf = ({ spec }: Service): string => (spec.externalName ?? "").toLowerCase().replace(/\.$/, "");

/** An alias and the Service whose host it stands for. */
export const serviceOfAlias = relation(
  "serviceOfAlias",
  index("Service", (service) => (isAlias(service) ? [hostOf(service)] : [])),
  serviceByHost,
);
/** An alias and the ServiceEntries that define the host that it stands for. */
export const entriesOfAlias = relation(
  "entriesOfAlias",
  index("Service", (service) => (isAlias(service) ? [hostOf(service)] : [])),
  serviceEntryByHost,
);

/** An alias, by the keys of the names that cover the host that it stands for. */
export const aliasByHost = index("Service", (service) => (isAlias(service) ? coveringHosts(hostOf(service)) : []));

/** What `aliased` reads. */
export const aliasReads = [serviceOfAlias, entriesOfAlias] as const;

/** What an alias stands for in the end. */
export interface Aliased {
  readonly host: string;
  /** Undefined: the host is none of a Service. */
  readonly service: Service | undefined;
  readonly entries: readonly ServiceEntry[];
  /** All of them. */
  readonly definitions: readonly Definition[];
  /** Why it leads nowhere; undefined: it does not. */
  readonly loop: string | undefined;
}

/** Longer chains do not exist. */
const mostSteps = 8;

/**
 * Follows an alias to the host that it stands for, over other aliases. DNS resolves it in the same way, so that clients connect to an
 * address of that host (Istio pilot/pkg/model/push_context.go resolveServiceAliases).
 */
export function aliased(alias: Service, mesh: MeshView<(typeof aliasReads)[number]>): Aliased {
  let last = alias;
  for (let steps = 0; steps < mostSteps; steps++) {
    const host = hostOf(last);
    const [service] = mesh.related(serviceOfAlias, last);
    if (service === undefined) {
      // A wildcard knows nothing of other names for the hosts that it covers.
      const entries = mesh.related(entriesOfAlias, last).filter(({ spec }) => spec.hosts.includes(host));
      return { host, service, entries, definitions: entries, loop: undefined };
    }
    if (!isAlias(service))
      return {
        ...{ host: hostOfService(service, mesh.settings.domain), service, entries: [] },
        ...{ definitions: [service], loop: undefined },
      };
    last = service;
  }
  return {
    host: hostOf(last),
    service: undefined,
    entries: [],
    definitions: [],
    loop: `${idOf(alias)} leads back to an alias`,
  };
}
