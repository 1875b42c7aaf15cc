import { selectionOf } from "../engine/setting.ts";
import { policyExplanation } from "../explain/policy.ts";
import { keyFor } from "../kube/identity.ts";
import { allKinds, kinds } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Policies } from "../policy/policies.ts";
import type { Explanation } from "../report/explanation.ts";
import { rules } from "../rules/index.ts";
import { nearest, suggestion } from "../text/nearest.ts";
import { listed } from "../text/phrases.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Mesh } from "../view/view.ts";

/** Explains the policies of `kind/namespace/name` or, without a namespace in it, of `kind/name`. Throws a UsageError. */
export function explainPolicy(
  words: { readonly what: string; readonly name: string | undefined; readonly namespace: string },
  mesh: Mesh,
  policies: Policies,
): Explanation {
  const object = findObject(words, mesh);
  return policyExplanation(object, { mesh, policies, selection: selectionOf(policies), rules, now: new Date() });
}

const resources = allKinds.flatMap((kind) => kinds[kind].served.map((served) => ({ kind, served })));

type Words = Parameters<typeof explainPolicy>[0];

function findObject({ what, name: second, namespace: given }: Words, mesh: Mesh): AnyObject {
  const [asked = "", ...path] = [...what.split("/"), ...(second?.split("/") ?? [])];
  const matching = resourcesNamed(asked);
  const name = path.at(-1) ?? "";
  const namespace = path.length > 1 ? (path[0] ?? "") : given;
  for (const { kind, served } of matching) {
    const where = served.namespaced ? namespace : "";
    const object = mesh.find(kind, keyFor(kind, { originKind: served.kind, namespace: where, name }));
    if (object !== undefined) return object;
  }
  const there = [...new Set(matching.map(({ kind }) => kind))].flatMap((kind) => [...mesh.all(kind)]);
  throw new UsageError(`there is no ${[asked, ...path].join("/")} in this mesh${meant({ name, namespace }, there)}`);
}

/** An object of the name in another namespace, else one of a similar name, first in the same namespace. */
function meant({ name, namespace }: Pick<AnyObject["metadata"], "name" | "namespace">, there: readonly AnyObject[]) {
  const same = there.filter(({ metadata }) => metadata.name === name);
  const others = [...there].sort((a, b) => Number(isIn(b, namespace)) - Number(isIn(a, namespace)));
  const near = nearest(
    name,
    others.map(({ metadata }) => metadata.name),
  );
  const found = same.length > 0 ? same : others.filter(({ metadata }) => metadata.name === near).slice(0, 1);
  if (found.length === 0) return "";
  const paths = found.map(({ originKind, metadata }) =>
    JSON.stringify([originKind, metadata.namespace, metadata.name].filter((part) => part !== "").join("/")),
  );
  return `; did you mean ${listed(paths.slice(0, mostMeant), "or")}?`;
}

const isIn = ({ metadata }: AnyObject, namespace: string): boolean => metadata.namespace === namespace;
/** So many objects of one name are suggested. */
const mostMeant = 5;

function resourcesNamed(asked: string): typeof resources {
  const wanted = asked.toLowerCase();
  const found = resources.filter(({ served }) => served.kind.toLowerCase() === wanted || served.plural === wanted);
  if (found.length > 0) return found;
  const known = resources.map(({ served }) => served.kind);
  const hint = suggestion(asked, known) || `; rules read ${listed([...new Set(known)].sort(), "and")}`;
  throw new UsageError(`no rule reads objects of kind ${JSON.stringify(asked)}${hint}`);
}
