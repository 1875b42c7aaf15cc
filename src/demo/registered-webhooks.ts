import type { Labels } from "../kube/object.ts";
import type { CelInput } from "@bufbuild/cel";
import type { Webhook as Registered, WebhookConfiguration } from "../deploy/webhooks.ts";
import { isObject } from "../kube/read.ts";
import {
  requestOf,
  resourceOf,
  groupVersionKind,
  type KubernetesObject,
  metadataOf,
  type Submission,
  type Webhook,
} from "./api-server-client.ts";

type Condition = (variables: Record<string, CelInput>) => boolean;

/**
 * The webhooks of a registration, as the API server decides which of them a request concerns: rules, namespaceSelector and
 * matchConditions (k8s.io/apiserver pkg/admission/plugin/webhook). `labelsOf` returns the labels of a namespace.
 */
export async function registeredWebhooks(
  configurations: readonly WebhookConfiguration[],
  labelsOf: (namespace: string) => Labels,
): Promise<readonly Webhook[]> {
  // CEL takes a tenth of a second to load.
  const { celEnv, parse, plan } = await import("@bufbuild/cel");
  const environment = celEnv();
  const conditionOf = (expression: string): Condition => {
    const evaluate = plan(environment, parse(expression));
    // Where an expression fails, the failure policy decides, and a request that is sent anyway is judged.
    return (variables) => evaluate(variables) !== false;
  };
  return configurations.flatMap(({ webhooks }) =>
    webhooks.map((registered): Webhook => {
      const conditions = (registered.matchConditions ?? []).map(({ expression }) => conditionOf(expression));
      return {
        name: registered.name,
        path: registered.reinvocationPolicy === undefined ? "/validate" : "/mutate",
        failurePolicy: registered.failurePolicy,
        timeoutSeconds: registered.timeoutSeconds,
        matches: (submission) =>
          isOfRule(registered, submission) &&
          isSelected(registered, labelsFor(submission, labelsOf)) &&
          conditions.every((condition) => condition(variablesOf(submission))),
      };
    }),
  );
}

const subjectOf = ({ object, oldObject }: Submission): KubernetesObject => object ?? oldObject ?? {};

function isOfRule({ rules }: Registered, submission: Submission): boolean {
  const { group, kind } = groupVersionKind(subjectOf(submission));
  const { subResource } = submission;
  const resource = subResource === undefined ? resourceOf(kind) : `${resourceOf(kind)}/${subResource}`;
  return rules.some(
    ({ apiGroups, operations, resources }) =>
      apiGroups.includes(group) && operations.includes(submission.operation) && resources.includes(resource),
  );
}

/** A Namespace is selected by its own labels; undefined: the object is in no namespace. */
function labelsFor(submission: Submission, labelsOf: (namespace: string) => Labels): Labels | undefined {
  const subject = subjectOf(submission);
  const { name = "", namespace, labels } = metadataOf(subject);
  if (subject.kind === "Namespace") return { ...labels, "kubernetes.io/metadata.name": name };
  return namespace === undefined ? undefined : { ...labelsOf(namespace), "kubernetes.io/metadata.name": namespace };
}

function isSelected({ namespaceSelector }: Registered, labels: Labels | undefined): boolean {
  return (namespaceSelector.matchExpressions ?? []).every(({ key, operator, values }) => {
    if (labels === undefined) return true;
    const isIn = Object.hasOwn(labels, key) && values.includes(labels[key] ?? "");
    return operator === "In" ? isIn : !isIn;
  });
}

const variablesOf = (submission: Submission): Record<string, CelInput> => ({
  request: celValue(requestOf("", submission, subjectOf(submission))),
  object: celValue(submission.operation === "DELETE" ? null : submission.object),
  oldObject: celValue(submission.oldObject ?? null),
});

function celValue(value: unknown): CelInput {
  if (Array.isArray(value)) return value.map(celValue);
  if (isObject(value)) {
    const fields = Object.entries(value).filter(([, one]) => one !== undefined);
    return new Map(fields.map(([key, one]) => [key, celValue(one)]));
  }
  return (value ?? null) as CelInput;
}
