import { selfTest } from "../admission/self-test.ts";
import type { Rule } from "../engine/rule.ts";
import { documentKinds } from "../policy/documents.ts";
import { kindsNeeded } from "../engine/declared-reads.ts";
import { allKinds, isMeshGroup, type Kind, kinds, type Served } from "../kube/kinds.ts";
import {
  type MatchCondition,
  protectedByDefault,
  type ProtectedNamespaces,
  type Requirement,
  type Share,
  sharesOf,
  sharesOfNamespaces,
} from "./fail-closed.ts";
import { workloadConditions } from "./workload-conditions.ts";

/** The address of Meshward for the API server: a base URL (`https://127.0.0.1:8443`), or a Service. */
export type WebhookAddress =
  | { readonly url: string }
  | { readonly service: { readonly name: string; readonly namespace: string; readonly port?: number } };

export const failurePolicies = ["Fail", "Ignore"] as const;
export type FailurePolicy = (typeof failurePolicies)[number];

export type WebhookOptions = WebhookAddress & {
  /** PEM, not base64; absent if something else sets it. */
  readonly caBundle?: string;
  /**
   * The failure policy of the webhooks for Istio and Gateway API kinds and for namespace labels, outside of protected
   * namespaces. Default: `Ignore`. All other webhooks always have `Ignore`.
   */
  readonly failurePolicy?: FailurePolicy;
  /**
   * The failure policy in protected namespaces: for Istio and Gateway API kinds, for updates of workloads and Services, and
   * for labels of the namespace. Default: `Fail`. What a cluster needs to recover always has `Ignore`.
   */
  readonly protectedFailurePolicy?: FailurePolicy;
  /** Default: the label of the profiles. With protectedNamespacesOf: those of policies. */
  readonly protectedNamespaces?: ProtectedNamespaces;
  /** Meshward's own namespace, whose objects are not sent to Meshward. */
  readonly namespace?: string;
  /** The namespace of Istio's control plane. */
  readonly rootNamespace?: string;
  /** The name of both configurations. */
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
  readonly matchExpressions?: readonly Requirement[];
}
interface WebhookRule {
  readonly apiGroups: readonly string[];
  readonly apiVersions: readonly string[];
  readonly operations: readonly string[];
  readonly resources: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
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

/** The fields that differ between webhooks. */
interface Part {
  readonly name: string;
  readonly path: "/validate" | "/mutate";
  readonly rules: readonly WebhookRule[];
  readonly notIn?: readonly string[];
  readonly onlyIn?: readonly string[];
  readonly conditions?: readonly MatchCondition[];
  readonly mayFail?: true;
  /** The webhooks that this one is divided into for protected namespaces. Default: itself. */
  readonly shares?: readonly Share[];
}

const every = ["CREATE", "UPDATE", "DELETE"];
const namespaceName = "kubernetes.io/metadata.name";

/** The kinds that rules check or read. A rule for every kind adds none. */
export function kindsConcerned(rules: readonly Rule[]): ReadonlySet<Kind> {
  return new Set(rules.flatMap((rule) => [...kindsNeeded(rule)]));
}

/**
 * The webhook configurations: the requests that the API server sends to Meshward, and the behaviour while Meshward is
 * unavailable. They are derived from the subjects and reads of the rules and from the table of kinds. All versions are
 * registered, because they represent the same object.
 */
export function webhookConfigurations(
  rules: readonly Rule[],
  options: WebhookOptions,
): readonly [validating: WebhookConfiguration, mutating: WebhookConfiguration] {
  const { namespace = "meshward-system", rootNamespace = "istio-system", name = "meshward" } = options;
  const { protectedNamespaces = protectedByDefault } = options;
  const concerned = kindsConcerned(rules);
  const places = { namespace, rootNamespace, protectedNamespaces };
  const validating = [
    meshPart(concerned, places),
    namespaceLabels(places),
    namespaces,
    policyDocuments,
    workloadsPart(concerned, places),
    ingressesPart(concerned, places),
    meshConfigPart(concerned, places),
    definitionsPart(concerned),
    gatewayClassesPart(concerned),
    selfTestPart(places),
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
      validating.flatMap((part) => webhooksOf(part, options)),
    ),
    configuration("MutatingWebhookConfiguration", [
      { ...webhook(enrollment(places), options), reinvocationPolicy: "Never" },
    ]),
  ];
}

interface Places {
  readonly namespace: string;
  readonly rootNamespace: string;
  readonly protectedNamespaces: ProtectedNamespaces;
}

/** Mesh-wide policies are in Istio's namespace, so only Meshward's own is excluded. */
const meshPart = (concerned: ReadonlySet<Kind>, { namespace, rootNamespace, protectedNamespaces }: Places): Part => ({
  name: "mesh.validate.meshward.io",
  path: "/validate",
  rules: rulesFor(servedOf(concerned).filter(({ group }) => isMeshGroup(group))),
  notIn: [namespace],
  mayFail: true,
  shares: sharesOf(protectedNamespaces, { operations: every, rootNamespace }),
});

/**
 * Labels, annotations and owners can be changed through the status of these as well. `kubectl debug` adds a container to a
 * running pod through a subresource of its own, of which a rule for pods alone sees nothing.
 */
const subresources: Readonly<Record<string, readonly string[]>> = {
  jobs: ["status"],
  pods: ["ephemeralcontainers", "status"],
  replicasets: ["status"],
};

const workloadsPart = (
  concerned: ReadonlySet<Kind>,
  { namespace, rootNamespace, protectedNamespaces }: Places,
): Part => ({
  name: "workloads.validate.meshward.io",
  path: "/validate",
  rules: rulesFor(
    servedOf(concerned).filter(
      ({ group, plural, namespaced }) => namespaced && !isMeshGroup(group) && !special.has(plural),
    ),
  ),
  notIn: ["kube-system", namespace, rootNamespace],
  conditions: workloadConditions,
  // Only updates: a Pod that cannot be created or deleted keeps a cluster from repairing itself.
  shares: sharesOf(protectedNamespaces, { operations: ["UPDATE"], rootNamespace }),
});

/**
 * Ingresses never fail closed: most are for other controllers, and what issues certificates changes them while it
 * answers a challenge, so that an outage of Meshward would stop traffic that Istio does not serve.
 */
const ingressesPart = (concerned: ReadonlySet<Kind>, { namespace }: Places): Part => ({
  name: "ingresses.validate.meshward.io",
  path: "/validate",
  rules: concerned.has("Ingress") ? rulesFor(kinds.Ingress.served) : [],
  notIn: [namespace],
});

/** Only Istio's own ConfigMaps are registered: `istio`, `istio-<revision>`, and those of the injector. */
const meshConfigPart = (concerned: ReadonlySet<Kind>, { rootNamespace }: Places): Part => ({
  name: "mesh-config.validate.meshward.io",
  path: "/validate",
  rules: concerned.has("MeshConfig") || concerned.has("InjectorConfig") ? rulesFor(kinds.MeshConfig.served) : [],
  onlyIn: [rootNamespace],
  conditions: [{ name: "istios-own", expression: "request.name == 'istio' || request.name.startsWith('istio-')" }],
});

/**
 * Definitions of the kinds of Istio and of the Gateway API that are deleted or changed. It never fails closed, because
 * an upgrade of Istio begins with its definitions.
 */
const definitionsPart = (concerned: ReadonlySet<Kind>): Part => ({
  name: "definitions.validate.meshward.io",
  path: "/validate",
  rules: concerned.has("AdmissionWebhook")
    ? [clusterRule(["UPDATE", "DELETE"], ["customresourcedefinitions"], "apiextensions.k8s.io")]
    : [],
  conditions: [
    {
      name: "of-the-mesh",
      expression: "request.name.endsWith('.istio.io') || request.name.endsWith('.gateway.networking.k8s.io')",
    },
  ],
});

/** GatewayClasses never fail closed, because istiod creates its own when it starts. */
const gatewayClassesPart = (concerned: ReadonlySet<Kind>): Part => ({
  name: "gateway-classes.validate.meshward.io",
  path: "/validate",
  rules: concerned.has("KubernetesGateway")
    ? kinds.GatewayClass.served.map(({ group, plural }) => clusterRule(every, [plural], group))
    : [],
});

/**
 * The self-test of controllers/self-test.ts. Only a Lease of that name in Meshward's own namespace is sent, which nobody
 * else creates, so that this webhook can neither delay nor block anything.
 */
const selfTestPart = ({ namespace }: Places): Part => ({
  name: "self-test.validate.meshward.io",
  path: "/validate",
  rules: [
    {
      apiGroups: [selfTest.group],
      apiVersions: ["*"],
      operations: ["CREATE"],
      resources: ["leases"],
      scope: "Namespaced",
    },
  ],
  onlyIn: [namespace],
  conditions: [{ name: "self-test", expression: `request.name == '${selfTest.name}'` }],
});

const namespaceResources = ["namespaces", "namespaces/status", "namespaces/finalize"];
const clusterRule = (operations: readonly string[], resources: readonly string[], group = ""): WebhookRule => ({
  apiGroups: [group],
  apiVersions: ["*"],
  operations,
  resources,
  scope: "Cluster",
});

/**
 * The selector of a webhook is matched against the new labels of a Namespace, so removing a label would avoid the review.
 * Therefore every namespace matches, and conditions limit the webhook to changes of labels. Finalizers, status and
 * Meshward's own namespace are never sent to Meshward.
 */
const namespaceLabels = ({ namespace, protectedNamespaces }: Places): Part => ({
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
  shares: sharesOfNamespaces(protectedNamespaces),
});

/** New and deleted namespaces can only cause warnings, because neither removes protection, so they do not fail closed. */
const namespaces: Part = {
  name: "namespaces.validate.meshward.io",
  path: "/validate",
  rules: [clusterRule(["CREATE", "DELETE"], ["namespaces"])],
};

/** Meshward's own documents, intents among them. A cluster without their definitions sends no such requests. */
const policyDocuments: Part = {
  name: "policies.validate.meshward.io",
  path: "/validate",
  rules: [...Object.values(documentKinds), ...kinds.MeshwardIntent.served].map(({ group, plural, namespaced }) => ({
    apiGroups: [group],
    apiVersions: ["*"],
    operations: every,
    resources: [plural],
    scope: namespaced ? "Namespaced" : "Cluster",
  })),
  mayFail: true,
};

const enrollment = ({ namespace, rootNamespace }: Places): Part => ({
  name: "enrollment.mutate.meshward.io",
  path: "/mutate",
  rules: [clusterRule(["CREATE", "UPDATE"], ["namespaces"])],
  notIn: ["kube-system", namespace, rootNamespace],
});

const undivided: Share = { suffix: "", failsClosed: false, requirements: [], conditions: [] };

function webhooksOf(part: Part, options: WebhookOptions): readonly Webhook[] {
  const { protectedFailurePolicy = "Fail" } = options;
  const failsAnyway = part.mayFail === true && options.failurePolicy === "Fail";
  const { shares } = part;
  if (shares === undefined || protectedFailurePolicy === "Ignore" || failsAnyway) return [webhook(part, options)];
  return shares.map((share) => webhook(part, options, share));
}

function webhook(part: Part, options: WebhookOptions, share: Share = undivided): Webhook {
  const { name, path, rules, notIn, onlyIn } = part;
  const conditions = [...(part.conditions ?? []), ...share.conditions];
  return {
    name: name.replace(".", `${share.suffix}.`),
    clientConfig: clientConfig(options, path),
    rules,
    namespaceSelector: selector([...elsewhere(notIn, "NotIn"), ...elsewhere(onlyIn, "In"), ...share.requirements]),
    ...(conditions.length > 0 ? { matchConditions: conditions } : {}),
    failurePolicy: failurePolicyOf(part, options, share),
    matchPolicy: "Equivalent",
    sideEffects: "None",
    timeoutSeconds: 5,
    admissionReviewVersions: ["v1"],
  };
}

function failurePolicyOf({ mayFail }: Part, { failurePolicy = "Ignore" }: WebhookOptions, share: Share): FailurePolicy {
  if (share.failsClosed) return "Fail";
  return mayFail ? failurePolicy : "Ignore";
}

function clientConfig(options: WebhookOptions, path: string): ClientConfig {
  const ca = options.caBundle === undefined ? {} : { caBundle: Buffer.from(options.caBundle).toString("base64") };
  if ("url" in options) return { url: `${options.url.replace(/\/+$/, "")}${path}`, ...ca };
  return { service: { port: 443, ...options.service, path }, ...ca };
}

const elsewhere = (values: readonly string[] | undefined, operator: "In" | "NotIn"): readonly Requirement[] =>
  values === undefined ? [] : [{ key: namespaceName, operator, values: [...new Set(values)] }];

const selector = (matchExpressions: readonly Requirement[]): LabelSelector =>
  matchExpressions.length > 0 ? { matchExpressions } : {};

/** Namespaces, Ingresses, mesh configs and intents have their own webhooks. */
const special = new Set(
  [kinds.Namespace, kinds.Ingress, kinds.MeshConfig, kinds.MeshwardIntent].flatMap(({ served }) =>
    served.map(({ plural }) => plural),
  ),
);
const servedOf = (concerned: ReadonlySet<Kind>): readonly Served[] =>
  allKinds.filter((kind) => concerned.has(kind)).flatMap((kind) => kinds[kind].served);

/** One rule for each API group, so that no resource is registered in a group that does not have it. */
function rulesFor(served: readonly Served[]): readonly WebhookRule[] {
  const byGroup = Map.groupBy(served, ({ group }) => group);
  return [...byGroup]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([group, members]) => ({
      apiGroups: [group],
      apiVersions: ["*"],
      operations: every,
      resources: members
        .flatMap(({ plural }) => [plural, ...(subresources[plural] ?? []).map((part) => `${plural}/${part}`)])
        .sort(),
      scope: "Namespaced",
    }));
}
