import type { Path } from "./read.ts";

/**
 * What the API server would reject in an object of a file. Objects that it sent or reviews have nothing of the kind, but for mesh
 * configs, which only istiod reads.
 */
export interface Invalid {
  /** The path in the raw object. */
  readonly at: Path;
  /** One sentence without a full stop. */
  readonly message: string;
  /** What to do, if that is more than to correct it. */
  readonly fix?: string | undefined;
  /** Another version of the definitions may accept it. */
  readonly dependsOnVersion?: true;
  /** The field is not rejected, but has no effect. */
  readonly isIgnored?: true;
  /** The placeholder in the object that may stand for a value with which the fault is not there. */
  readonly placeholder?: string;
}
