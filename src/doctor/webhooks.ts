import { X509Certificate } from "node:crypto";
import { protectedByDefault, type ProtectedNamespaces } from "../deploy/fail-closed.ts";
import { failurePolicies, type WebhookConfiguration, webhookConfigurations } from "../deploy/webhooks.ts";
import type { Rule } from "../engine/rule.ts";
import { counted } from "../text/phrases.ts";
import { type CheckResult, fail, ok, warn } from "./check-result.ts";
import { at, type ClusterApi, type Fields, objectsIn, textAt, textsIn } from "./cluster-api.ts";
import { type Difference, differencesOf } from "./webhook-differences.ts";

export interface WebhookExpectations {
  readonly rules: readonly Rule[];
  /** The name of both configurations. */
  readonly name: string;
  readonly namespace: string;
  readonly istioNamespace: string;
  readonly protectedNamespaces?: ProtectedNamespaces;
}

/** The two live configurations; undefined where there is none. */
export interface LiveWebhooks {
  readonly validating: Fields | undefined;
  readonly mutating: Fields | undefined;
}

const path = "/apis/admissionregistration.k8s.io/v1";

/** Throws a ClusterError. */
export async function readWebhooks(api: ClusterApi, name: string): Promise<LiveWebhooks> {
  const [validating, mutating] = await Promise.all(
    ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"].map((plural) =>
      api.get(`${path}/${plural}/${name}`),
    ),
  );
  return { validating, mutating };
}

export const webhooksIn = ({ validating, mutating }: LiveWebhooks): readonly Fields[] =>
  [validating, mutating].flatMap((configuration) => objectsIn(configuration?.["webhooks"]));

const apply = "Apply the webhook configurations of this version again: helm upgrade, or meshward manifests";

/** Whether both configurations are those of this version of Meshward. */
export function checkWebhooks(live: LiveWebhooks, expectations: WebhookExpectations): readonly CheckResult[] {
  const { validating, mutating } = live;
  const results: CheckResult[] = [];
  if (validating === undefined)
    results.push(
      fail(
        "webhooks",
        `There is no ValidatingWebhookConfiguration ${expectations.name}: nothing is reviewed`,
        "Install Meshward, or give --webhook-configuration if it has another name",
      ),
    );
  if (mutating === undefined)
    results.push(
      warn(
        "webhooks",
        `There is no MutatingWebhookConfiguration ${expectations.name}: no namespace is enrolled`,
        apply,
      ),
    );
  if (validating === undefined) return results;
  const { differences, nearest } = nearestExpected(live, expectations);
  return [...results, ...differenceResults(differences), failureResult(nearest)];
}

/** failurePolicy is a choice of whoever installs, and divides the webhooks: the nearest of all choices is compared. */
function nearestExpected({ validating, mutating }: LiveWebhooks, expectations: WebhookExpectations) {
  const { rules, name, namespace, istioNamespace, protectedNamespaces = protectedByDefault } = expectations;
  const choices = failurePolicies.flatMap((failurePolicy) =>
    failurePolicies.map((protectedFailurePolicy) => ({ failurePolicy, protectedFailurePolicy })),
  );
  const compared = choices.map((choice) => {
    const service = { name, namespace };
    const options = { ...choice, service, namespace, rootNamespace: istioNamespace, name, protectedNamespaces };
    const expected = webhookConfigurations(rules, options);
    const differences = [validating, mutating].flatMap((live, i) =>
      live === undefined ? [] : differencesOf(expected[i] as WebhookConfiguration, live),
    );
    return { differences, nearest: choice };
  });
  return compared.reduce((best, one) => (one.differences.length < best.differences.length ? one : best));
}

function differenceResults(differences: readonly Difference[]): readonly CheckResult[] {
  if (differences.length === 0)
    return [ok("webhooks", "The webhook configurations are those of this version of Meshward")];
  return differences.map(({ webhook, field, problem, isHole }) =>
    (isHole ? fail : warn)("webhooks", `${webhook}, ${field}: ${problem}`, apply),
  );
}

type Choice = ReturnType<typeof nearestExpected>["nearest"];

function failureResult({ failurePolicy, protectedFailurePolicy }: Choice): CheckResult {
  if (failurePolicy === "Fail")
    return ok("failure-policy", "While Meshward is unavailable, changes of Istio and Gateway API objects are refused");
  if (protectedFailurePolicy === "Fail")
    return ok(
      "failure-policy",
      "While Meshward is unavailable, changes in protected namespaces are refused, and all others are admitted without a review",
    );
  return warn(
    "failure-policy",
    "While Meshward is unavailable, every change is admitted without a review",
    "Set the failure policy of protected namespaces to Fail when doctor finds no other problem (protectedFailurePolicy in the chart)",
  );
}

/** The authorities of caBundle, and what is wrong with them. */
export function checkAuthorities(live: LiveWebhooks, now: number): readonly CheckResult[] {
  const webhooks = webhooksIn(live);
  const empty = webhooks.filter((webhook) => textAt(webhook, "clientConfig", "caBundle") === "");
  const repair =
    "Wait for whatever sets it (Meshward, cert-manager), and look at its log; or set caBundle to the authority of the certificate";
  if (empty.length > 0)
    return [
      fail(
        "ca-bundle",
        `caBundle is empty in ${empty.map((webhook) => textAt(webhook, "name")).join(", ")}: the API server does not trust Meshward`,
        repair,
      ),
    ];
  const bundles = [...new Set(webhooks.map((webhook) => textAt(webhook, "clientConfig", "caBundle")))];
  if (bundles.length > 1)
    return [
      fail("ca-bundle", `caBundle differs between webhooks: there are ${bundles.length} different ones`, repair),
      ...bundles.flatMap((bundle) => authorityResults(bundle, now)),
    ];
  return bundles.flatMap((bundle) => authorityResults(bundle, now));
}

const soonMs = 14 * 86_400_000;

function authorityResults(bundle: string, now: number): readonly CheckResult[] {
  const authorities = certificatesIn(pemOf(bundle));
  const renew = "Renew the authority, and write it into caBundle";
  if (authorities.length === 0) return [fail("ca-bundle", "caBundle has no certificate that can be read", renew)];
  const valid = authorities.filter(
    ({ validTo, validFrom }) => Date.parse(validTo) > now && Date.parse(validFrom) <= now,
  );
  if (valid.length === 0)
    return [fail("ca-bundle", `No authority of caBundle is valid now: ${authorities.map(shown).join("; ")}`, renew)];
  const last = Math.max(...valid.map(({ validTo }) => Date.parse(validTo)));
  const text = `caBundle has ${counted(authorities.length, "authority", "authorities")}: ${authorities.map(shown).join("; ")}`;
  return last - now < soonMs ? [warn("ca-bundle", text, renew)] : [ok("ca-bundle", text)];
}

const shown = ({ subject, validTo }: X509Certificate): string =>
  `${(subject || "without a subject").replaceAll("\n", ", ")}, until ${new Date(validTo).toISOString()}`;

/** caBundle is base64 of PEM. */
export const pemOf = (bundle: string): string => Buffer.from(bundle, "base64").toString("utf8");

/** The certificates of a PEM text, without those that cannot be read. */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

const namespaceName = "kubernetes.io/metadata.name";

/** Which namespaces each webhook leaves out by name. */
export function checkExclusions(live: LiveWebhooks): readonly CheckResult[] {
  const lines = webhooksIn(live).flatMap((webhook) => {
    const names = objectsIn(at(webhook, "namespaceSelector", "matchExpressions"))
      .filter((one) => textAt(one, "key") === namespaceName && textAt(one, "operator") === "NotIn")
      .flatMap((one) => textsIn(one["values"]));
    return names.length === 0 ? [] : [`${textAt(webhook, "name")} leaves out ${[...names].sort().join(", ")}`];
  });
  return lines.map((line) => ok("exclusions", line));
}
