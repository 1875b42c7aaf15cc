import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, Identified } from "../kube/object.ts";

/** An existing object, or the place of a missing one (without a name: no object of the kind in the namespace). */
export type Evidence =
  | AnyObject
  | { readonly absent: Kind; readonly namespace: string; readonly name: string | undefined };
export const absent = (kind: Kind, namespace: string, name?: string): Evidence => ({ absent: kind, namespace, name });

/** An object of which a rule sees only the identity, as evidence and in messages. */
export const present = (one: Identified): AnyObject => one as AnyObject;
