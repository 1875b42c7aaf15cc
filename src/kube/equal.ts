/** Of these values of a member, one is as good as another. */
type IsAlike = (key: string, value: unknown) => boolean;

/** Compares results of readers, which are plain data of limited depth. */
export function isEqual(a: unknown, b: unknown, isAlike?: IsAlike): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && hasEqualItems(a, b, isAlike);
  return !Array.isArray(b) && hasEqualMembers(a, b, { isAlike });
}

function hasEqualItems(a: readonly unknown[], b: readonly unknown[], isAlike: IsAlike | undefined): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!isEqual(a[i], b[i], isAlike)) return false;
  return true;
}

interface Compared {
  /** Members that do not count. */
  readonly except?: readonly string[];
  readonly isAlike?: IsAlike | undefined;
}

export function hasEqualMembers(a: object, b: object, { except = none, isAlike }: Compared = {}): boolean {
  let more = 0;
  for (const key in a) {
    if (except.includes(key)) continue;
    if (!Object.hasOwn(b, key) || !isEqualMember(key, a, { b, isAlike })) return false;
    more++;
  }
  for (const key in b) if (!except.includes(key)) more--;
  return more === 0;
}

function isEqualMember(
  key: string,
  a: object,
  { b, isAlike }: { readonly b: object } & Pick<Compared, "isAlike">,
): boolean {
  const [one, other] = [(a as Fields)[key], (b as Fields)[key]];
  return isEqual(one, other, isAlike) || (isAlike?.(key, one) === true && isAlike(key, other));
}
type Fields = Readonly<Record<string, unknown>>;
const none: readonly string[] = [];
