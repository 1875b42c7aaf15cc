import type { OwnedHosts } from "../mesh/traffic/host-ownership.ts";

/** The apiVersion of the policy documents. */
export const apiVersion = "meshward.io/v1alpha1";

export const modes = ["deny", "warn", "audit", "off"] as const;
export type PolicyMode = (typeof modes)[number];

export type Labels = Readonly<Record<string, string>>;
export type ParameterValue = number | string | boolean | readonly string[] | readonly OwnedHosts[] | Requester;

/** The user who sends a request. `check` and `audit` have none, because they check objects without a request. */
export interface Requester {
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly user: string;
  readonly groups: readonly string[];
  readonly fieldManager: string;
}

/** The metadata of a rule that policies need. The caller passes the rules in; this folder does not import them. */
export interface RuleMetadata {
  readonly id: string;
  readonly summary: string;
  readonly parameters: Readonly<Record<string, { readonly summary: string; readonly default: ParameterValue }>>;
}

/** Parameters that no document can set, because the selection fills them from all policies in force. */
export const filledParameters: ReadonlySet<string> = new Set<FilledParameter>([
  "protectedLabels",
  "hostOwners",
  "protectedNames",
  "request",
]);
export type FilledParameter = "protectedLabels" | "hostOwners" | "protectedNames" | "request";

/** In a list of rules, this id stands for every rule that the same document does not name. */
export const everyRule = "*";

/**
 * Names, in which `*` stands for any characters, and labels, all of which must match. Each user of this type documents
 * whether a selector with both needs both to match, or one of them.
 */
export interface Where {
  readonly names?: readonly string[];
  readonly labels?: Labels;
}

/** All conditions that are set must match. `users` and `groups` form one condition, of which either may match. */
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

/** A rule that a policy defines itself. Its id in settings, exceptions and reports is `<policy>/<id>`. */
export interface CustomRuleSpec {
  readonly id: string;
  /** Kinds as in manifests; one that two groups have as `Gateway.networking.istio.io`. */
  readonly kinds: readonly string[];
  /** CEL, true for an object that is right. */
  readonly expression: string;
  readonly message: string;
  /** CEL, the message for one object. */
  readonly messageExpression?: string;
  readonly fix?: string;
  /** Default: warn. */
  readonly mode?: PolicyMode;
  /** Values that settings of the rule can change, with their defaults. */
  readonly parameters?: Readonly<Record<string, ParameterValue>>;
}

export interface EnrollmentOptions {
  readonly mode?: "off" | "create" | "reconcile";
  readonly useWaypoint?: string;
  readonly except?: readonly string[];
}

export interface PolicySpec {
  /** The document sets nothing, and says so. A document that is only missing after a reload stays in force. */
  readonly withdrawn?: true;
  readonly rules?: readonly RuleOptions[];
  readonly match?: MatchSpec;
  readonly protectedNamespaces?: Where;
  readonly reconcilers?: {
    readonly users?: readonly string[];
    readonly fieldManagers?: readonly string[];
    readonly mode?: "warn" | "deny";
  };
  readonly hostOwners?: readonly OwnedHosts[];
  readonly breakGlass?: { readonly groups: readonly string[] };
  readonly mutations?: { readonly namespaceAmbientEnrollment?: EnrollmentOptions };
  readonly customRules?: readonly CustomRuleSpec[];
}

/** A MeshwardPolicy that is in force. */
export interface PolicyDocument {
  /** The name in messages: `MeshwardPolicy payments`, `profile baseline`. */
  readonly title: string;
  readonly name: string;
  /**
   * 0 or more. Of equally specific documents, the one in the higher layer wins. Profiles are below the users'
   * documents.
   */
  readonly layer: number;
  readonly spec: PolicySpec;
  /** The rules of `spec.customRules`, as the caller of loadPolicies defined them. */
  readonly customRules?: readonly RuleMetadata[];
}

export interface ExceptionSpec {
  readonly rules: readonly string[];
  readonly match?: { readonly objects?: Where };
  readonly reason: string;
  readonly owner: string;
  readonly expiresAt: string;
}

/** A MeshwardException; whether it applies depends on the time. */
export interface Exception {
  /** The name in messages: `MeshwardException payments/legacy-client`. */
  readonly title: string;
  readonly name: string;
  readonly namespace: string;
  readonly reason: string;
  readonly owner: string;
  /** RFC 3339, as written in the document. */
  readonly expiresAt: string;
  readonly spec: ExceptionSpec;
}
