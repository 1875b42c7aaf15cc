import { isMeshGroup, type Kind, kindOf, kinds } from "../../kube/kinds.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { index, relation } from "../../view/view.ts";

type Definition = ObjectOf<"AdmissionWebhook">;

/** The CustomResourceDefinition of a kind of Istio or of the Gateway API that Meshward knows. */
interface MeshDefinition {
  readonly definition: Definition;
  readonly kind: Kind;
  /** The name by which the API server serves the kind: `HTTPRoute`. */
  readonly served: string;
  /** Whether one of the versions that control planes read is served. */
  readonly isServed: boolean;
}

/** Undefined for definitions of other groups, and for what is no definition. */
function meshDefinitionOf(definition: Definition): MeshDefinition | undefined {
  const { group = "", versions } = definition.spec;
  const served = definition.spec.names.kind ?? "";
  if (definition.originKind !== "CustomResourceDefinition" || !isMeshGroup(group)) return undefined;
  const kind = kindOf(`${group}/`, served);
  if (kind === undefined) return undefined;
  const read = kinds[kind].served.find((one) => one.group === group && one.kind === served)?.versions ?? [];
  return {
    definition,
    kind,
    served,
    isServed: versions.some((one) => one.served === true && read.includes(one.name ?? "")),
  };
}

const every = "*";
/** Each namespace and the definitions of the kinds of Istio and of the Gateway API. */
export const definitionsOfMeshKinds = relation(
  "definitionsOfMeshKinds",
  index("Namespace", () => [every]),
  index("AdmissionWebhook", (one) => (meshDefinitionOf(one) === undefined ? [] : [every])),
);

/** The definitions by which kinds were served before and are not afterwards: they are deleted, or serve no version that is read. */
export function* definitionsGone(
  before: readonly Definition[],
  after: readonly Definition[],
): Iterable<MeshDefinition & { readonly isDeleted: boolean }> {
  const current = new Map(after.map((one) => [one.metadata.name, one]));
  for (const definition of before) {
    const left = current.get(definition.metadata.name);
    const old = left === definition ? undefined : meshDefinitionOf(definition);
    const isServedStill = left !== undefined && meshDefinitionOf(left)?.isServed === true;
    if (old?.isServed === true && !isServedStill) yield { ...old, isDeleted: left === undefined };
  }
}
