import type { Requester } from "../kube/requester.ts";
import type { Served } from "../kube/kinds.ts";
import type { Labels } from "../kube/object.ts";
import type { OwnedHosts } from "../mesh/traffic/host-ownership.ts";

/** The apiVersion of the policy documents. */
export const apiVersion = "meshward.io/v1alpha1";

const served = (kind: string, plural: string, namespaced: boolean): Served => {
  const [group = "", version = ""] = apiVersion.split("/");
  return { group, versions: [version], kind, plural, namespaced };
};
/** The kinds of policy documents, and how an API server with their definitions serves them. */
export const documentKinds = {
  MeshwardPolicy: served("MeshwardPolicy", "meshwardpolicies", false),
  MeshwardException: served("MeshwardException", "meshwardexceptions", true),
} as const;
export type DocumentKind = keyof typeof documentKinds;

export const modes = ["deny", "warn", "audit", "off"] as const;
export type PolicyMode = (typeof modes)[number];

export type ParameterValue = number | string | boolean | readonly string[] | readonly OwnedHosts[] | Requester;

export type { Requester };

/** The metadata of a rule that policies need. The caller passes the rules in; this folder does not import them. */
export interface RuleMetadata {
  readonly id: string;
  readonly summary: string;
  readonly parameters: Readonly<Record<string, { readonly summary: string; readonly default: ParameterValue }>>;
  readonly tags?: readonly string[];
}

/** How an entry of a document selects a rule. */
export type RuleName = Pick<RuleMetadata, "id" | "tags">;

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

/** The tag of every rule that a policy defines. */
export const customTag = "custom";

/**
 * Names, in which `*` stands for any characters, and labels, all of which must match. Each user of this type documents
 * whether a selector with both needs both to match, or one of them.
 */
export interface Where {
  readonly names?: readonly string[];
  readonly labels?: Labels;
}

/** Objects: all conditions that are set must match. */
export interface ObjectsWhere extends Where {
  /** Kinds as in manifests: `VirtualService`, `Deployment`. */
  readonly kinds?: readonly string[];
}

/** All conditions that are set must match. Users, groups and service accounts form one condition, of which one may match. */
export interface MatchSpec extends Writers {
  readonly namespaces?: Where;
  readonly objects?: ObjectsWhere;
  readonly operations?: readonly ("CREATE" | "UPDATE" | "DELETE")[];
}

/** Those who send a request; one match is enough. `*` stands for any characters. */
export interface Writers {
  readonly users?: readonly string[];
  readonly groups?: readonly string[];
  /** `namespace/name` */
  readonly serviceAccounts?: readonly string[];
}

/** The settings of the rules that an entry selects, by exactly one of `id` and `tag`. */
export interface RuleOptions {
  /** The id of a rule, or several rules with `*`. */
  readonly id?: string;
  readonly tag?: string;
  readonly mode?: PolicyMode;
  readonly existing?: "warn" | "deny";
  readonly onError?: "deny" | "warn";
  readonly onUnknown?: "warn" | "deny";
  /** What the user who is denied or warned should know in addition. */
  readonly message?: string;
  /** A URL. */
  readonly runbook?: string;
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

/** Which MeshwardExceptions a namespace may have, and who may write them. */
export interface ExceptionLimits {
  readonly mode?: "allow" | "deny";
  /** Ids, in which `*` stands for any characters, and `tag:<tag>`. */
  readonly rules?: readonly string[];
  readonly maxDays?: number;
  readonly writers?: Writers;
}

export interface PolicySpec {
  /** The document sets nothing, and says so. A document that is only missing after a reload stays in force. */
  readonly withdrawn?: true;
  /** Names of profiles and of other policies, whose rules and mutations apply where this document does not set them. */
  readonly extends?: readonly string[];
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
  readonly exceptions?: ExceptionLimits;
  readonly mutations?: { readonly namespaceAmbientEnrollment?: EnrollmentOptions };
  readonly customRules?: readonly CustomRuleSpec[];
}

/** What a document takes over from one that it extends: after what it says itself, and after what comes before in the list. */
export interface Extended {
  /** `profile strict@0.1` or `MeshwardPolicy base`. */
  readonly title: string;
  readonly spec: Pick<PolicySpec, "rules" | "mutations">;
  /** A rule that is newer than this version of a profile denies nothing. */
  readonly pin?: Pin | undefined;
}

/** A profile at a version: `baseline@0.1`. */
export interface Pin {
  readonly title: string;
  readonly version: readonly [major: number, minor: number];
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
  readonly extended?: readonly Extended[];
  /** The rules of `spec.customRules`, as the caller of loadPolicies defined them. */
  readonly customRules?: readonly RuleMetadata[];
}

export interface ExceptionSpec {
  readonly rules: readonly string[];
  readonly match?: {
    readonly objects?: ObjectsWhere;
    /** Fingerprints of findings, as reports contain them. */
    readonly fingerprints?: readonly string[];
  };
  readonly reason: string;
  readonly owner: string;
  readonly ticket?: string;
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
  readonly ticket?: string;
  /** RFC 3339 or a date, as written in the document. */
  readonly expiresAt: string;
  readonly spec: ExceptionSpec;
}
