import { kinds } from "../kube/kinds.ts";
import { apiVersion, type RuleMetadata } from "./documents.ts";
import { mostDays } from "./expiry.ts";
import { choice, globNote, type JsonSchema, labels, list, names, record, text, titles } from "./json-schema.ts";
import { customRuleId, customRules, ruleOptions } from "./rule-schemas.ts";

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
/** A host, a wildcard that starts at a dot, or every host. */
const hostPattern = String.raw`^(\*|(\*\.)?${label}(\.${label})*)$`;

const expiryPattern = String.raw`^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[-+]\d{2}:\d{2}))?$`;

const objectKinds = [...new Set(Object.values(kinds).flatMap(({ served }) => served.map(({ kind }) => kind)))].sort();

const objects = record("Selects the objects that a finding is about. All conditions that are set must match.", {
  names: names("Names of objects"),
  labels,
  kinds: list(
    { ...choice(objectKinds, "A kind, as in manifests."), title: titles.kind },
    "Kinds of objects, as in manifests: a Deployment is not a StatefulSet.",
  ),
});

const account = text("A service account: `namespace/name`.", "^[^/\\s]+/[^/\\s]+$");
const writers = {
  users: names("Users that send the request"),
  groups: names("Groups of the user that sends the request"),
  serviceAccounts: list(account, `Service accounts that send the request, as \`namespace/name\`; ${globNote}.`),
};

const match = record(
  "Limits where, for whom and to which objects the rules and mutations of this document apply. All conditions that are set must match; users, groups and service accounts form one condition, of which one match is enough. Default: everywhere.",
  {
    namespaces: record(
      "Selects the namespaces of the objects that findings are about; a Namespace belongs to itself. If both names and labels are set, both must match.",
      { names: names("Names of namespaces"), labels },
    ),
    objects,
    operations: list(
      choice(["CREATE", "UPDATE", "DELETE"], "An operation of the request."),
      "The operations of the request. Objects in files and objects that an audit checks count as created.",
    ),
    ...writers,
  },
);

const protectedNamespaces = {
  ...record(
    "Namespaces whose protection must not be reduced: those with one of the names, and those with the labels (either is enough). The lists of all documents are combined.",
    { names: names("Names of namespaces"), labels },
  ),
  minProperties: 1,
};

const reconcilers = record(
  "Writers that apply a set of objects in their own order (GitOps controllers, Helm, progressive delivery). Findings that depend on an object that may be applied later warn these writers where they would deny other users. The lists of all documents are combined.",
  {
    users: names("Users, most often service accounts"),
    fieldManagers: names("Field managers of the request"),
    mode: choice(["warn", "deny"], "deny: reconcilers are denied like other users. Default: warn."),
  },
);

const breakGlass = record(
  "Groups that may set the annotation `meshward.io/break-glass: <reason>` on an object, which turns denials into warnings. The lists of all documents are combined.",
  { groups: names("Groups of users") },
  ["groups"],
);

const hostOwners = list(
  record(
    "Hosts that belong to some namespaces.",
    {
      hosts: list(
        {
          type: "string",
          maxLength: 253,
          pattern: hostPattern,
          description: "A host in lower case, such as `shop.example.com`, `*.example.com`, or `*` for every host.",
        },
        "The hosts, with the domain that clients use: a Service is `reviews.shop.svc.cluster.local`.",
      ),
      namespaces: names("Names of the namespaces that may use these hosts"),
    },
    ["hosts", "namespaces"],
  ),
  "Which namespaces may use which hosts in objects that receive traffic. Of several entries that cover a host, the one with the most specific host decides. Hosts that no entry covers belong to everybody, and an entry for `*` leaves each namespace the hosts of its own Services. The lists of all documents are combined.",
);

const exceptionLimits = record(
  "Limits the MeshwardExceptions of the namespaces that `match.namespaces` selects, the only condition that may be set beside it. Default: every exception is allowed, and whoever may write the object in Kubernetes may write it. Of several documents, the most specific decides about each field.",
  {
    mode: choice(["allow", "deny"], "deny: there are no exceptions. Default: allow."),
    rules: names("Ids of the rules whose findings may be accepted"),
    maxDays: {
      type: "integer",
      minimum: 1,
      maximum: mostDays,
      description: "The longest time, in days from now, until an exception has to end.",
    },
    writers: {
      ...record("Those who may create and change exceptions; one match is enough.", writers),
      minProperties: 1,
    },
  },
);

const mutations = record("Changes that Meshward makes to objects.", {
  namespaceAmbientEnrollment: record(
    "Enrolls namespaces in the ambient mesh: adds the label `istio.io/dataplane-mode: ambient`, unless a label of the namespace already sets its enrollment.",
    {
      mode: choice(
        ["off", "create", "reconcile"],
        "create: enrolls new namespaces; reconcile: enrolls namespaces on every update too; off: enrolls none. Default: off.",
      ),
      useWaypoint: text("Also adds the label `istio.io/use-waypoint` with this value, the name of a waypoint."),
      except: names("Namespaces that are not enrolled, in addition to those of the other matching documents"),
    },
  ),
});

/** Fields that apply to the whole cluster. Next to a match they would look as if it limited them. */
const withoutMatch = ["protectedNamespaces", "hostOwners", "reconcilers", "breakGlass"] as const;

function policySpec(entry: JsonSchema): JsonSchema {
  const spec = record("The settings of this policy.", {
    withdrawn: {
      const: true,
      description:
        "The policy is no longer in force. Without this statement, a policy that a running server has read stays in force when its document is removed. It cannot be combined with other settings.",
    },
    extends: list(
      text("A profile, with or without a version, or the name of another MeshwardPolicy."),
      "Profiles (`strict`, or `strict@0.1` for the rules of that version) and names of other MeshwardPolicies, whose rules and mutations apply where this document does, as far as this document does not set them; the first in the list first.",
    ),
    rules: list(
      entry,
      "Settings for rules, one entry for each rule. A rule that no document names keeps its defaults.",
    ),
    match,
    protectedNamespaces,
    hostOwners,
    reconcilers,
    breakGlass,
    exceptions: exceptionLimits,
    mutations,
    customRules,
  });
  return {
    ...spec,
    minProperties: 1,
    if: { type: "object", required: ["match"] },
    // oxlint-disable-next-line unicorn/no-thenable
    then: { type: "object", properties: Object.fromEntries(withoutMatch.map((field) => [field, false])) },
  };
}

function exceptionSpec(rules: readonly RuleMetadata[]): JsonSchema {
  return record(
    "The findings in this namespace that are accepted, until when and why.",
    {
      rules: list(
        {
          type: "string",
          description: "The id of a rule.",
          anyOf: [
            {
              ...choice(
                rules.map(({ id }) => id),
                "The id of a rule.",
              ),
              title: titles.rule,
            },
            customRuleId,
          ],
        },
        "Rules whose findings are accepted.",
      ),
      match: record(
        "Limits the exception to some findings. All conditions that are set must match. Default: all findings of these rules in this namespace.",
        {
          objects,
          fingerprints: list(
            text("The fingerprint of a finding: 32 hexadecimal digits.", "^[0-9a-f]{32}$"),
            "Fingerprints of findings, as the JSON of `check` and `audit` contains them. They stay the same when the object is created again.",
          ),
        },
      ),
      reason: text("The reason for the exception, which reports show."),
      owner: text("The team or person that is responsible for the exception."),
      ticket: text("The ticket under which the problem is solved, as a key or a URL."),
      expiresAt: {
        ...text(
          "When the exception ends: a date, such as 2027-01-31, until whose end in UTC it applies, or a time with a zone, such as 2027-01-31T18:00:00+01:00.",
          expiryPattern,
        ),
        title: titles.expiry,
      },
    },
    ["rules", "reason", "owner", "expiresAt"],
  );
}

interface DocumentShape {
  readonly kind: string;
  readonly description: string;
  readonly identity: readonly string[];
  readonly spec: JsonSchema;
}

export function document({ kind, description, identity, spec }: DocumentShape): JsonSchema {
  const one = (field: string): JsonSchema => text(`The ${field} of the document.`);
  return record(
    description,
    {
      apiVersion: { const: apiVersion, description: "The version of this format." },
      kind: { const: kind, description: "The kind of document." },
      metadata: {
        type: "object",
        required: identity,
        properties: Object.fromEntries(identity.map((field) => [field, one(field)])),
        description: "Standard Kubernetes object metadata.",
      },
      spec,
      status: { type: "object", description: "What Meshward writes about a document in a cluster." },
    },
    ["apiVersion", "kind", "metadata", "spec"],
  );
}

const draft = "http://json-schema.org/draft-07/schema#";

const policyWith = (entry: JsonSchema): JsonSchema => ({
  $schema: draft,
  ...document({
    kind: "MeshwardPolicy",
    description:
      "Sets the mode of rules, where and for whom they apply, which namespaces are protected, and how objects are changed.",
    identity: ["name"],
    spec: policySpec(entry),
  }),
});

export const meshwardPolicySchema = (rules: readonly RuleMetadata[]): JsonSchema => policyWith(ruleOptions(rules));

/** {@link meshwardPolicySchema} without the parameters of each rule, which are most of it; see {@link parametersFor}. */
export const policySchemaWithoutParameters = (rules: readonly RuleMetadata[]): JsonSchema =>
  policyWith(ruleOptions(rules, []));

export const meshwardExceptionSchema = (rules: readonly RuleMetadata[]): JsonSchema => ({
  $schema: draft,
  ...document({
    kind: "MeshwardException",
    description: "Accepts findings in one namespace until a date.",
    identity: ["name", "namespace"],
    spec: exceptionSpec(rules),
  }),
});
