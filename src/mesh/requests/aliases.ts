import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { aliasedHost as hostOf, isAlias, serviceOfAlias } from "../traffic/aliased-hosts.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { entriesOfAlias } from "../traffic/subset-aliases.ts";
import { entriesFor, type ServiceEntry } from "./definitions.ts";

/** What `aliased` reads. */
export const aliasReads = [serviceOfAlias, entriesOfAlias] as const;

/** What an alias stands for in the end. */
export interface Aliased {
  readonly host: string;
  /** Undefined: the host is none of a Service. */
  readonly service: Service | undefined;
  readonly entries: readonly ServiceEntry[];
  /** Those with a wildcard that covers the host, and with addresses: requests to these are theirs, unless they are told apart by their host. */
  readonly covering: readonly ServiceEntry[];
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
      const all = entriesFor(host, mesh.related(entriesOfAlias, last));
      // A wildcard knows nothing of other names for the hosts that it covers.
      const entries = all.filter(({ spec }) => spec.hosts.includes(host));
      const covering = all.filter((one) => !entries.includes(one) && one.spec.addresses.length > 0);
      return { host, service, entries, covering, definitions: entries, loop: undefined };
    }
    if (!isAlias(service))
      return {
        ...{ host: hostOfService(service, mesh.settings.domain), service, entries: [] },
        ...{ covering: [], definitions: [service], loop: undefined },
      };
    last = service;
  }
  return {
    host: hostOf(last),
    service: undefined,
    entries: [],
    covering: [],
    definitions: [],
    loop: `${idOf(alias)} leads back to an alias`,
  };
}
