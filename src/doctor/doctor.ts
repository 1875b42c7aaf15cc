import type { ProtectedNamespaces } from "../deploy/fail-closed.ts";
import type { Rule } from "../engine/rule.ts";
import { type CheckResult, examined } from "./check-result.ts";
import { checkClock, checkKinds, checkOtherWebhooks, checkOwnNamespace, checkVersion } from "./cluster.ts";
import { type ClusterApi, textAt } from "./cluster-api.ts";
import { checkPermissions } from "./permissions.ts";
import { checkDefinitions, checkPolicies, type PoliciesWith } from "./policies.ts";
import { checkReplicas } from "./replicas.ts";
import { checkSelfTest } from "./self-test.ts";
import { addressOf, checkServed, checkService } from "./serving.ts";
import { checkAuthorities, checkExclusions, checkWebhooks, readWebhooks, webhooksIn } from "./webhooks.ts";

export interface DoctorOptions {
  readonly rules: readonly Rule[];
  /** The version of Meshward. */
  readonly version: string;
  /** Of both webhook configurations. */
  readonly webhookConfiguration: string;
  /** Default: that of the Service that the webhooks name. */
  readonly namespace?: string | undefined;
  readonly istioNamespace: string;
  readonly protectedNamespaces?: ProtectedNamespaces | undefined;
  readonly policiesWith: PoliciesWith;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const defaultNamespace = "meshward-system";

/**
 * Checks an installation through the API server, and stores nothing. Checks for which a right is missing are unknown.
 * Throws a ClusterError if the API server cannot be reached at all.
 */
export async function examine(api: ClusterApi, options: DoctorOptions): Promise<readonly CheckResult[]> {
  const { rules, version, webhookConfiguration: name, istioNamespace, policiesWith, now } = options;
  const cluster = await checkVersion(api);
  const read = await examinedValue(() => readWebhooks(api, name));
  const live = "value" in read ? read.value : { validating: undefined, mutating: undefined };
  const [first] = webhooksIn(live);
  const address = addressOf(first);
  const ofService = address !== undefined && "namespace" in address ? address.namespace : undefined;
  const namespace = options.namespace ?? ofService ?? defaultNamespace;
  const protection = options.protectedNamespaces && { protectedNamespaces: options.protectedNamespaces };
  const expectations = { rules, name, namespace, istioNamespace, ...protection };
  const ofWebhooks = () => [
    ...checkWebhooks(live, expectations),
    ...(live.validating === undefined ? [] : [...checkAuthorities(live, now()), ...checkExclusions(live)]),
  ];
  const bundle = textAt(first, "clientConfig", "caBundle");
  const others = await Promise.all([
    examined("service", () => checkService(api, address)),
    examined("certificate", () => checkServed(address, bundle, now())),
    examined("self-test", () => checkSelfTest(api, namespace, now())),
    examined("replicas", () =>
      address !== undefined && "url" in address ? [] : checkReplicas(api, namespace, version),
    ),
    examined("definitions", () => checkDefinitions(api, rules)),
    examined("policies", () => checkPolicies(api, policiesWith)),
    examined("permissions", () => checkPermissions(api, rules, { namespace, istioNamespace })),
    examined("kinds", () => checkKinds(api, rules)),
    examined("namespace", () => (address !== undefined && "url" in address ? [] : checkOwnNamespace(api, namespace))),
    examined("other-webhooks", () => checkOtherWebhooks(api, name)),
    examined("clock", () => checkClock(api, now)),
  ]);
  return [...cluster, ...("value" in read ? ofWebhooks() : read.results), ...others.flat()];
}

async function examinedValue<T>(
  read: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly results: readonly CheckResult[] }> {
  let value: { readonly value: T } | undefined;
  const results = await examined("webhooks", async () => {
    value = { value: await read() };
    return [];
  });
  return value ?? { results };
}

/** The command that lets a cluster accept changes again while Meshward cannot answer. */
export const unlockCommand = (name: string): string =>
  `kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration ${name}`;
