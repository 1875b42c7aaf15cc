/** An object in a test, as written, or the path of a file or folder. */
export type Given = string | Readonly<Record<string, unknown>>;

/** Requests and what is expected of them: the spec of a MeshwardIntent, with its namespace. */
export interface StatedRequests {
  /** Undefined: `to` has `namespaces`. */
  readonly namespace?: string;
  readonly to: Readonly<Record<string, unknown>>;
  readonly requests: readonly Readonly<Record<string, unknown>>[];
}

/** What is expected; what is undefined is not compared. */
export interface Expectation {
  readonly allowed?: boolean;
  readonly deniedBy?: readonly string[];
  readonly warnedBy?: readonly string[];
  /** `namespace/name` of exceptions. */
  readonly acceptedBy?: readonly string[];
  readonly message?: readonly string[];
  readonly patchedTo?: Readonly<Record<string, unknown>>;
  /** After the change, and before it. */
  readonly holds?: readonly StatedRequests[];
  readonly heldBefore?: readonly StatedRequests[];
}

export interface TestCase {
  readonly name: string;
  readonly mesh?: readonly string[];
  readonly apply?: Given | readonly Given[];
  readonly delete?: Given | readonly Given[];
  readonly by?: { readonly user?: string; readonly groups?: readonly string[]; readonly fieldManager?: string };
  /** RFC 3339. */
  readonly time?: string;
  readonly dryRun?: boolean;
  readonly expect: Expectation;
}

/** The contents of a `meshward-test.yaml`, which match policyTestSchema. */
export interface TestFile {
  readonly name?: string;
  readonly profile?: string;
  readonly policies?: readonly string[];
  readonly mesh?: readonly string[];
  readonly time?: string;
  readonly cases: readonly TestCase[];
}

/** Whether a file contains tests, by its name: `meshward-test.yaml`, `payments.meshward-test.yaml`. */
export const isTestFile = (path: string): boolean => /(?:^|[/\\]|\.)meshward-test\.(?:ya?ml|json)$/.test(path);
