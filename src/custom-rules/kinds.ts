import { allKinds, type Kind, kinds, type Served } from "../kube/kinds.ts";
import { Schemas } from "../schemas/schemas.ts";
import type { Schema } from "../schemas/schema.ts";
import { kubernetesSchema } from "../schemas/kubernetes-fields.ts";
import { suggestion } from "../text/nearest.ts";
import { listed } from "../text/phrases.ts";

/** A kind as manifests have it, and the kind of Meshward's table that it is read as. */
export interface NamedKind {
  readonly kind: Kind;
  readonly served: Served;
}

/** Kinds that the webhook does not receive, or of which only Istio's own objects are read. */
const without: ReadonlySet<Kind> = new Set(["AdmissionWebhook", "MeshConfig", "InjectorConfig"]);

const named: readonly NamedKind[] = allKinds
  .filter((kind) => !without.has(kind))
  .flatMap((kind) => kinds[kind].served.map((served) => ({ kind, served })));

const longName = ({ served: { kind, group } }: NamedKind): string => (group === "" ? kind : `${kind}.${group}`);

/** The kind with a name, `Deployment` or `Gateway.networking.istio.io`; a text says why there is none. */
export function kindNamed(name: string): NamedKind | string {
  const found = named.filter((one) => one.served.kind === name || longName(one) === name);
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  if (first !== undefined)
    return `${name} is a kind of several groups; write ${listed(found.map(longName).sort(), "or")}`;
  const short = [...new Set(named.map(({ served }) => served.kind))];
  const near = suggestion(name, [...short, ...named.map(longName)]);
  return `there is no kind ${JSON.stringify(name)} that Meshward reads${near === "" ? `; it reads ${listed(short.sort(), "and")}` : near}`;
}

let schemas: Schemas | undefined;

/** The fields of a kind, by the built-in definitions; undefined if there is none, as for Rollout. */
export function schemaOfKind({ served: { group, versions, kind } }: NamedKind): Schema | undefined {
  const [version = ""] = versions;
  const ofKubernetes = kubernetesSchema(group === "" ? version : `${group}/${version}`, kind);
  if (ofKubernetes !== undefined) return ofKubernetes;
  schemas ??= new Schemas();
  for (const one of versions) {
    const found = schemas.find(group, one, kind);
    if (found !== undefined) return found;
  }
  return undefined;
}
