import { idOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";

/** Objects as a list in a text: the first few, and how many more. */
export const listed = (objects: readonly AnyObject[], most?: number): string => listedNames(objects.map(idOf), most);

/** The same for names. */
export function listedNames(names: readonly string[], most = 5): string {
  const more = names.length - most;
  return more > 0 ? `${names.slice(0, most).join(", ")} and ${more} more` : names.join(", ");
}

export const counted = (count: number, noun: string, plural = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : plural}`;
