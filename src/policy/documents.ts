/** How the documents are known to the API server. */
export const apiVersion = "meshward.io/v1alpha1";

export const modes = ["deny", "warn", "audit", "off"] as const;
export type PolicyMode = (typeof modes)[number];

export type Labels = Readonly<Record<string, string>>;
export type ParameterValue = number | string | boolean | readonly string[];

/** What a policy needs to know of a rule. The rules themselves are handed in: policies import none. */
export interface RuleMetadata {
  readonly id: string;
  readonly summary: string;
  readonly parameters: Readonly<Record<string, { readonly summary: string; readonly default: ParameterValue }>>;
}

/** Parameters that no document sets, because the selection fills them from all policies in force. */
export const filledParameters: ReadonlySet<string> = new Set(["protectedLabels"]);

/** In a list of rules: every rule that the same document does not name. */
export const everyRule = "*";

/** Names (`*` stands for any characters) and labels (all of them). What both together mean, the user of the shape says. */
export interface Where {
  readonly names?: readonly string[];
  readonly labels?: Labels;
}

/** All conditions that are given must hold; `users` and `groups` are one condition: either. */
export interface MatchSpec {
  readonly namespaces?: Where;
  readonly objects?: Where;
  readonly operations?: readonly ("CREATE" | "UPDATE" | "DELETE")[];
  readonly users?: readonly string[];
  readonly groups?: readonly string[];
}

export interface RuleOptions {
  readonly id: string;
  readonly mode?: PolicyMode;
  readonly existing?: "warn" | "deny";
  readonly onError?: "deny" | "warn";
  readonly onUnknown?: "warn" | "deny";
  readonly parameters?: Readonly<Record<string, ParameterValue>>;
}

export interface EnrollmentOptions {
  readonly mode?: "off" | "create" | "reconcile";
  readonly useWaypoint?: string;
  readonly except?: readonly string[];
}

export interface PolicySpec {
  readonly rules?: readonly RuleOptions[];
  readonly match?: MatchSpec;
  readonly protectedNamespaces?: Where;
  readonly reconcilers?: {
    readonly users?: readonly string[];
    readonly fieldManagers?: readonly string[];
    readonly mode?: "warn" | "deny";
  };
  readonly breakGlass?: { readonly groups: readonly string[] };
  readonly mutations?: { readonly namespaceAmbientEnrollment?: EnrollmentOptions };
}

/** A MeshwardPolicy that is in force. */
export interface PolicyDocument {
  /** As messages name it: `MeshwardPolicy payments`, `profile baseline`. */
  readonly title: string;
  readonly name: string;
  /** 0 and up: a document of a higher layer wins over an equally specific one. Profiles lie below what users write. */
  readonly layer: number;
  readonly spec: PolicySpec;
}

export interface ExceptionSpec {
  readonly rules: readonly string[];
  readonly match?: { readonly objects?: Where };
  readonly reason: string;
  readonly owner: string;
  readonly expiresAt: string;
}

/** A MeshwardException; whether it counts depends on the time. */
export interface Exception {
  /** As messages name it: `MeshwardException payments/legacy-client`. */
  readonly title: string;
  readonly name: string;
  readonly namespace: string;
  readonly reason: string;
  readonly owner: string;
  /** RFC 3339, as it was written. */
  readonly expiresAt: string;
  readonly spec: ExceptionSpec;
}
