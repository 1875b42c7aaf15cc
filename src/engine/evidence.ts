import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";

/** An object that is there, or a place where one was looked for in vain (without a name: any object of the kind in the namespace). */
export type Evidence =
  | AnyObject
  | { readonly absent: Kind; readonly namespace: string; readonly name: string | undefined };
export const absent = (kind: Kind, namespace: string, name?: string): Evidence => ({ absent: kind, namespace, name });
