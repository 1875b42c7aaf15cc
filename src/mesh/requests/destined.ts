import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { ClientScope, scopeReads } from "./client-scope.ts";
import { aliased, aliasReads, isAlias } from "./aliases.ts";
import { chosenEntry, type NamedHost } from "./entry-choice.ts";
import type { Source } from "./outcome.ts";
import type { Target } from "./question.ts";
import type { Destined } from "./routes.ts";

/** What `destinedFor` reads. */
export const destinedReads = [...scopeReads, ...aliasReads] as const;
type View = MeshView<(typeof destinedReads)[number]>;

/** What a target is for one client: what its proxy has for the host, or why it knows nothing of it. */
export function destinedFor(target: Exclude<Target, { kind: "workloads" }>, source: Source, mesh: View): Destined {
  const scope = new ClientScope(source, false, mesh);
  if (target.kind === "host") return toEntries(target, { source, scope }, mesh);
  const { service, port } = target;
  if (!isAlias(service)) return toService(service, port, scope, mesh);
  const { host, service: concrete, entries, loop } = aliased(service, mesh);
  const own = hostOfService(service, mesh.settings.domain);
  if (loop !== undefined)
    return { host: own, port, definition: undefined, name: own, hidden: undefined, missing: loop };
  const found =
    concrete === undefined
      ? toEntries({ host, port, entries }, { source, scope }, mesh)
      : toService(concrete, port, scope, mesh);
  return scope.hides(own, service) === undefined ? { ...found, alias: service } : found;
}

function toService(definition: Service, port: number, scope: ClientScope, mesh: View): Destined {
  const host = hostOfService(definition, mesh.settings.domain);
  return { host, port, definition, name: host, hidden: scope.hides(host, definition) };
}

interface Client {
  readonly source: Source;
  readonly scope: ClientScope;
}

function toEntries(to: NamedHost, { source, scope }: Client, mesh: View): Destined {
  const { host, port, entries } = to;
  const choice = chosenEntry(to, source, (name, entry) => scope.hides(name, entry), mesh.settings);
  const undefinedHost = { host, port, definition: undefined, name: host };
  if (choice.kind === "defined") return { host, port, definition: choice.entry, name: choice.name, hidden: undefined };
  if (choice.kind === "undecided") return { ...undefinedHost, hidden: undefined, unclear: choice.because };
  if (choice.kind === "nowhere") return { ...undefinedHost, hidden: undefined, missing: choice.because };
  if (!mesh.knowsAll("ServiceEntry") && entries.length === 0)
    return { ...undefinedHost, hidden: undefined, unclear: `${choice.because}, as far as is known` };
  const inside = entries.find(({ spec }) => spec.workloadSelector !== undefined);
  const unclearAddress = inside && `the host stands for what ${idOf(inside)} selects, whose address is not known`;
  return { ...undefinedHost, hidden: choice.because, unclearAddress };
}
