import type { Rule } from "../engine/rule.ts";
import { kindsNeeded } from "../engine/subjects.ts";
import { allKinds, type Kind, kinds, type Served } from "../kube/kinds.ts";

/** Where the API server finds Meshward: a base URL (`https://127.0.0.1:8443`), or a Service. */
export type WebhookAddress =
  | { readonly url: string }
  | { readonly service: { readonly name: string; readonly namespace: string; readonly port?: number } };

export type FailurePolicy = "Fail" | "Ignore";

export type WebhookOptions = WebhookAddress & {
  /** PEM, not base64; left out where something else writes it. */
  readonly caBundle?: string;
  /**
   * Of the webhooks that may stop changes while Meshward cannot be reached: Istio and Gateway API kinds, and the guard
   * of namespace labels. All others are `Ignore` for ever.
   */
  readonly failurePolicy?: FailurePolicy;
  /** Meshward's own namespace: what is written there never waits for Meshward. */
  readonly namespace?: string;
  /** Where Istio's control plane lives. */
  readonly rootNamespace?: string;
  /** Of both configurations. */
  readonly name?: string;
};

interface ClientConfig {
  readonly url?: string;
  readonly service?: {
    readonly name: string;
    readonly namespace: string;
    readonly path: string;
    readonly port: number;
  };
  readonly caBundle?: string;
}
interface LabelSelector {
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: "In" | "NotIn";
    readonly values: readonly string[];
  }[];
}
interface WebhookRule {
  readonly apiGroups: readonly string[];
  readonly apiVersions: readonly string[];
  readonly operations: readonly string[];
  readonly resources: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
}
interface MatchCondition {
  readonly name: string;
  readonly expression: string;
}
/** One entry of a ValidatingWebhookConfiguration or MutatingWebhookConfiguration (admissionregistration.k8s.io/v1). */
export interface Webhook {
  readonly name: string;
  readonly clientConfig: ClientConfig;
  readonly rules: readonly WebhookRule[];
  readonly namespaceSelector: LabelSelector;
  readonly matchConditions?: readonly MatchCondition[];
  readonly failurePolicy: FailurePolicy;
  readonly matchPolicy: "Equivalent";
  readonly sideEffects: "None";
  readonly timeoutSeconds: number;
  readonly admissionReviewVersions: readonly string[];
  readonly reinvocationPolicy?: "Never";
}
export interface WebhookConfiguration {
  readonly apiVersion: "admissionregistration.k8s.io/v1";
  readonly kind: "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration";
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly webhooks: readonly Webhook[];
}

/** What differs from one webhook to the next. */
interface Part {
  readonly name: string;
  readonly path: "/validate" | "/mutate";
  readonly rules: readonly WebhookRule[];
  readonly notIn?: readonly string[];
  readonly onlyIn?: readonly string[];
  readonly conditions?: readonly MatchCondition[];
  readonly mayFail?: true;
}

const every = ["CREATE", "UPDATE", "DELETE"];
const namespaceName = "kubernetes.io/metadata.name";

/** The kinds that rules judge or read. A rule that judges any kind adds none by itself. */
export function kindsConcerned(rules: readonly Rule[]): ReadonlySet<Kind> {
  return new Set(rules.flatMap((rule) => [...kindsNeeded(rule)]));
}

/**
 * What Meshward asks of the API server: which requests it wants to see, and what happens when it cannot answer.
 * Everything follows from the rules' subjects and reads and from the table of kinds; versions are left open, since one
 * resource holds the same object in all of them.
 */
export function webhookConfigurations(
  rules: readonly Rule[],
  options: WebhookOptions,
): readonly [validating: WebhookConfiguration, mutating: WebhookConfiguration] {
  const { namespace = "meshward-system", rootNamespace = "istio-system", name = "meshward" } = options;
  const concerned = kindsConcerned(rules);
  const places = { namespace, rootNamespace };
  const validating = [
    meshPart(concerned, places),
    namespaceLabels(places),
    namespaces,
    workloadsPart(concerned, places),
    meshConfigPart(concerned, places),
  ].filter(({ rules }) => rules.length > 0);
  const configuration = (kind: WebhookConfiguration["kind"], webhooks: readonly Webhook[]): WebhookConfiguration => ({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind,
    metadata: { name, labels: { "app.kubernetes.io/name": "meshward" } },
    webhooks,
  });
  return [
    configuration(
      "ValidatingWebhookConfiguration",
      validating.map((part) => webhook(part, options)),
    ),
    configuration("MutatingWebhookConfiguration", [
      { ...webhook(enrollment(places), options), reinvocationPolicy: "Never" },
    ]),
  ];
}

interface Places {
  readonly namespace: string;
  readonly rootNamespace: string;
}

/** Mesh-wide policies live in Istio's namespace, so that only Meshward's own is left out. */
const meshPart = (concerned: ReadonlySet<Kind>, { namespace }: Places): Part => ({
  name: "mesh.validate.meshward.io",
  path: "/validate",
  rules: rulesFor(servedOf(concerned).filter(({ group }) => isMeshGroup(group))),
  notIn: [namespace],
  mayFail: true,
});

/**
 * A workload that another one makes says nothing that its owner does not say (see isOwned in mesh/workloads.ts), and
 * such pods are most of what a cluster writes.
 */
const owners = kinds.Workload.served.map(({ group, kind }) => `'${group}/${kind}'`).join(", ");
const notOwned: MatchCondition = {
  name: "not-owned-by-a-workload",
  expression:
    "!has((request.operation == 'DELETE' ? oldObject : object).metadata.ownerReferences) || " +
    "!(request.operation == 'DELETE' ? oldObject : object).metadata.ownerReferences" +
    ".exists(owner, has(owner.controller) && owner.controller && " +
    `((owner.apiVersion.contains('/') ? owner.apiVersion.split('/')[0] : '') + '/' + owner.kind) in [${owners}])`,
};
const workloadsPart = (concerned: ReadonlySet<Kind>, { namespace, rootNamespace }: Places): Part => ({
  name: "workloads.validate.meshward.io",
  path: "/validate",
  rules: rulesFor(
    servedOf(concerned).filter(
      ({ group, plural, namespaced }) => namespaced && !isMeshGroup(group) && !special.has(plural),
    ),
  ),
  notIn: ["kube-system", namespace, rootNamespace],
  conditions: [notOwned],
});

/** Of ConfigMaps only Istio's own: `istio`, and `istio-<revision>`. */
const meshConfigPart = (concerned: ReadonlySet<Kind>, { rootNamespace }: Places): Part => ({
  name: "mesh-config.validate.meshward.io",
  path: "/validate",
  rules: concerned.has("MeshConfig") ? rulesFor(kinds.MeshConfig.served) : [],
  onlyIn: [rootNamespace],
  conditions: [{ name: "istios-own", expression: "request.name == 'istio' || request.name.startsWith('istio-')" }],
});

const namespaceResources = ["namespaces", "namespaces/status", "namespaces/finalize"];
const clusterRule = (operations: readonly string[], resources: readonly string[]): WebhookRule => ({
  apiGroups: [""],
  apiVersions: ["*"],
  operations,
  resources,
  scope: "Cluster",
});

/**
 * The selector of a Namespace is matched against its labels as they will be: whoever takes a label off would leave the
 * selector with it. So every namespace is matched, and conditions narrow it to what is guarded: a change of labels,
 * by whichever way. Finalizers, status and Meshward's own namespace never wait for Meshward.
 */
const namespaceLabels = ({ namespace }: Places): Part => ({
  name: "namespace-labels.validate.meshward.io",
  path: "/validate",
  rules: [clusterRule(["UPDATE"], namespaceResources)],
  conditions: [
    { name: "not-meshward-itself", expression: `!(request.name in ['kube-system', '${namespace}'])` },
    {
      name: "labels-change",
      expression:
        "(has(object.metadata.labels) ? object.metadata.labels : {}) != " +
        "(has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})",
    },
  ],
  mayFail: true,
});

/** New and deleted namespaces are told what there is to say; neither takes protection away, so neither waits. */
const namespaces: Part = {
  name: "namespaces.validate.meshward.io",
  path: "/validate",
  rules: [clusterRule(["CREATE", "DELETE"], ["namespaces"])],
};

const enrollment = ({ namespace, rootNamespace }: Places): Part => ({
  name: "enrollment.mutate.meshward.io",
  path: "/mutate",
  rules: [clusterRule(["CREATE", "UPDATE"], ["namespaces"])],
  notIn: ["kube-system", namespace, rootNamespace],
});

function webhook({ name, path, rules, notIn, onlyIn, conditions, mayFail }: Part, options: WebhookOptions): Webhook {
  return {
    name,
    clientConfig: clientConfig(options, path),
    rules,
    namespaceSelector: selector(notIn, onlyIn),
    ...(conditions ? { matchConditions: conditions } : {}),
    failurePolicy: mayFail ? (options.failurePolicy ?? "Ignore") : "Ignore",
    matchPolicy: "Equivalent",
    sideEffects: "None",
    timeoutSeconds: 5,
    admissionReviewVersions: ["v1"],
  };
}

function clientConfig(options: WebhookOptions, path: string): ClientConfig {
  const ca = options.caBundle === undefined ? {} : { caBundle: Buffer.from(options.caBundle).toString("base64") };
  if ("url" in options) return { url: `${options.url.replace(/\/+$/, "")}${path}`, ...ca };
  return { service: { port: 443, ...options.service, path }, ...ca };
}

function selector(notIn?: readonly string[], onlyIn?: readonly string[]): LabelSelector {
  if (notIn) return { matchExpressions: [{ key: namespaceName, operator: "NotIn", values: [...new Set(notIn)] }] };
  if (onlyIn) return { matchExpressions: [{ key: namespaceName, operator: "In", values: onlyIn }] };
  return {};
}

/** Namespaces and mesh configs have webhooks of their own. */
const special = new Set([...kinds.Namespace.served, ...kinds.MeshConfig.served].map(({ plural }) => plural));
const isMeshGroup = (group: string): boolean => group.endsWith(".istio.io") || group === "gateway.networking.k8s.io";
const servedOf = (concerned: ReadonlySet<Kind>): readonly Served[] =>
  allKinds.filter((kind) => concerned.has(kind)).flatMap((kind) => kinds[kind].served);

/** One rule for each API group, so that no resource is asked for in a group that does not have it. */
function rulesFor(served: readonly Served[]): readonly WebhookRule[] {
  const byGroup = Map.groupBy(served, ({ group }) => group);
  return [...byGroup]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([group, members]) => ({
      apiGroups: [group],
      apiVersions: ["*"],
      operations: every,
      resources: members.map(({ plural }) => plural).sort(),
      scope: "Namespaced",
    }));
}
