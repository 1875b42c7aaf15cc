import type { Rule } from "../engine/rule.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { idOf, namespaceKey } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import { type AnyObject, impliedNamespace } from "../kube/object.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Policies } from "../policy/policies.ts";
import type { Mesh } from "../view/view.ts";

/** What explanations are made from. */
export interface Inquiry {
  readonly mesh: Mesh;
  readonly policies: Policies;
  readonly selection: PolicySelection;
  readonly rules: readonly Rule[];
}

/** A namespace as the mesh shows it; one that it does not show is implied, with unknown labels. */
export function namespaceIn(mesh: Mesh, name: string): Namespace {
  const found = mesh.find("Namespace", namespaceKey(name));
  return found?.kind === "Namespace" ? found : impliedNamespace(name);
}

/** What an explanation may need and this mesh shows nothing of. */
export const unknownKinds = (mesh: Mesh, kinds: readonly Kind[]): readonly Kind[] =>
  kinds.filter((kind) => !mesh.knows(kind));

/** Objects as a list in a text: the first few, and how many more. */
export function listed(objects: readonly AnyObject[], most = 5): string {
  const ids = objects.slice(0, most).map(idOf);
  const more = objects.length - ids.length;
  return more > 0 ? `${ids.join(", ")} and ${more} more` : ids.join(", ");
}

/** By what users call them, so that the order of the view does not show. */
export const byName = (a: AnyObject, b: AnyObject): number => (idOf(a) < idOf(b) ? -1 : Number(idOf(a) > idOf(b)));

export const counted = (count: number, noun: string, plural = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : plural}`;
