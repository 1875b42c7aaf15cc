/** A label or annotation with the prefix `meshward.io/` that has a meaning for Meshward. */
export interface OwnMetadata {
  readonly key: string;
  readonly type: "label" | "annotation";
  /** The kinds of objects that it is read from. */
  readonly on: string;
  readonly meaning: string;
}

export const protectedLabel = {
  key: "meshward.io/protected",
  type: "label",
  on: "Namespace",
  meaning:
    "`true` makes the profiles protect the namespace, and its webhooks fail closed. Policies can use other labels and names",
} as const satisfies OwnMetadata;

export const breakGlassAnnotation = {
  key: "meshward.io/break-glass",
  type: "annotation",
  on: "every kind that is reviewed; for a deletion, the Namespace",
  meaning:
    "the reason for a change that would be denied. It has an effect only for groups that a policy allows to use it",
} as const satisfies OwnMetadata;

/** All of them. The documentation is made from this list. */
export const ownMetadata: readonly OwnMetadata[] = [protectedLabel, breakGlassAnnotation];
