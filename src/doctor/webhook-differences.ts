import { isDeepStrictEqual } from "node:util";
import type { Webhook, WebhookConfiguration } from "../deploy/webhooks.ts";
import { at, type Fields, objectsIn, textAt, textsIn } from "./cluster-api.ts";

/** A field of a live webhook configuration that is not as expected. */
export interface Difference {
  /** Of the webhook; "" for the whole configuration. */
  readonly webhook: string;
  readonly field: string;
  /** What follows: `requests are not reviewed`, for example. */
  readonly problem: string;
  /** Whether changes can pass without a review because of it. */
  readonly isHole: boolean;
}

/**
 * Compares a live configuration with the expected one. Not compared: the address, caBundle, labels, and fields that the API
 * server sets to their defaults.
 */
export function differencesOf(expected: WebhookConfiguration, live: Fields): readonly Difference[] {
  const found = new Map(objectsIn(live["webhooks"]).map((webhook) => [textAt(webhook, "name"), webhook]));
  const wanted = new Set(expected.webhooks.map(({ name }) => name));
  const unexpected = [...found.keys()].filter((name) => !wanted.has(name));
  return [
    ...expected.webhooks.flatMap((webhook) => {
      const there = found.get(webhook.name);
      if (there !== undefined) return ofWebhook(webhook, there);
      return [{ webhook: webhook.name, field: "name", problem: "the webhook is missing", isHole: true }];
    }),
    ...unexpected.map((name) => ({
      webhook: name,
      field: "name",
      problem: "this version of Meshward has no such webhook",
      isHole: false,
    })),
  ];
}

interface Found {
  readonly field: string;
  /** Undefined: there is none. */
  readonly problem: string | undefined;
  readonly isHole?: false;
}

function ofWebhook(expected: Webhook, live: Fields): readonly Difference[] {
  const { missing, added } = ruleDifferences(expected, live);
  const { namespaceSelector, matchConditions, timeoutSeconds } = expected;
  const isSame = (one: readonly string[], other: readonly string[]) => isDeepStrictEqual(one, other);
  const found: readonly Found[] = [
    { field: "rules", problem: missing.length > 0 ? `not reviewed: ${some(missing)}` : undefined },
    {
      field: "rules",
      problem: added.length > 0 ? `reviewed although no rule needs it: ${some(added)}` : undefined,
      isHole: false,
    },
    {
      field: "namespaceSelector",
      problem: isSame(requirementsOf(namespaceSelector), requirementsOf(live["namespaceSelector"]))
        ? undefined
        : "it selects other namespaces",
    },
    {
      field: "objectSelector",
      problem: requirementsOf(live["objectSelector"]).length > 0 ? "labels on an object exempt it" : undefined,
    },
    {
      field: "matchConditions",
      problem: isSame(conditionsOf(matchConditions), conditionsOf(live["matchConditions"]))
        ? undefined
        : "other requests are left out",
    },
    ...(["failurePolicy", "matchPolicy", "sideEffects"] as const).map((field) => ({
      field,
      problem: valueProblem(live[field], expected[field]),
    })),
    { field: "timeoutSeconds", problem: valueProblem(live["timeoutSeconds"], timeoutSeconds), isHole: false },
    {
      field: "admissionReviewVersions",
      problem: textsIn(live["admissionReviewVersions"]).includes("v1")
        ? undefined
        : "v1 is missing, so the API server cannot call the webhook",
    },
  ];
  return found.flatMap(({ field, problem, isHole = true }) =>
    problem === undefined ? [] : [{ webhook: expected.name, field, problem, isHole }],
  );
}

const valueProblem = (found: unknown, expected: unknown): string | undefined =>
  found === expected ? undefined : `it is ${String(found)}, expected ${String(expected)}`;

/** Each rule as the combinations that it matches: `CREATE virtualservices.networking.istio.io *`. */
function ruleDifferences(expected: Webhook, live: Fields) {
  const wanted = new Set(expected.rules.flatMap((rule) => combinationsOf(rule)));
  const found = new Set(objectsIn(live["rules"]).flatMap(combinationsOf));
  return {
    missing: [...wanted].filter((one) => !found.has(one)),
    added: [...found].filter((one) => !wanted.has(one)),
  };
}

function combinationsOf(rule: object): readonly string[] {
  const [groups, versions, resources, operations] = ["apiGroups", "apiVersions", "resources", "operations"].map(
    (field) => textsIn(at(rule, field)),
  ) as [readonly string[], readonly string[], readonly string[], readonly string[]];
  return operations.flatMap((operation) =>
    resources.flatMap((resource) =>
      groups.flatMap((group) =>
        versions.map((version) => `${operation} ${resource}${group === "" ? "" : `.${group}`} ${version}`),
      ),
    ),
  );
}

const mostShown = 5;
const some = (all: readonly string[]): string =>
  `${all.slice(0, mostShown).join(", ")}${all.length > mostShown ? ` and ${all.length - mostShown} more` : ""}`;

/** The requirements of a label selector in one form: matchLabels are the same as `In` with one value. */
function requirementsOf(selector: unknown): readonly string[] {
  const labels = at(selector, "matchLabels");
  const pairs = typeof labels === "object" && labels !== null ? Object.entries(labels) : [];
  return [
    ...pairs.map(([key, value]) => JSON.stringify([key, "In", [String(value)]])),
    ...objectsIn(at(selector, "matchExpressions")).map((one) =>
      JSON.stringify([textAt(one, "key"), textAt(one, "operator"), [...textsIn(one["values"])].sort()]),
    ),
  ].sort();
}

const conditionsOf = (conditions: unknown): readonly string[] =>
  objectsIn(conditions)
    .map((one) => textAt(one, "expression").replaceAll(/\s+/g, " ").trim())
    .sort();
