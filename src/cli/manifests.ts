import { imageReferenceProblem } from "../deploy/image-reference.ts";
import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { protectedNamespacesOf } from "../deploy/fail-closed.ts";
import {
  certificateKinds,
  type CertificateKind,
  defaultInstallation,
  installation,
  type InstallationOptions,
} from "../deploy/installation.ts";
import type { KubernetesObject } from "../deploy/object.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { failurePolicies, type FailurePolicy } from "../deploy/webhooks.ts";
import { yamlOf } from "../deploy/yaml.ts";
import { isSystemError, unreadable } from "../text/file-errors.ts";
import { namespaceName } from "./namespace-option.ts";
import { UsageError } from "../text/usage-error.ts";
import { rules } from "../rules/index.ts";
import { policiesOf, policiesOption, type PolicyOptions, profileOption, shownPolicies } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

export interface ManifestsOptions extends PolicyOptions {
  readonly namespace: string;
  readonly istioNamespace: string;
  readonly image: string;
  readonly replicas: number;
  readonly spread: InstallationOptions["spread"];
  readonly certificates?: CertificateKind;
  readonly caFile?: string;
  readonly clientCaConfigMap?: string;
  readonly clientName: readonly string[];
  readonly failurePolicy: FailurePolicy;
  readonly protectedFailurePolicy: FailurePolicy;
  readonly definitions: boolean;
  readonly networkPolicy: boolean;
  readonly monitoring: boolean;
  readonly url?: string;
}

const byDefault = defaultInstallation;

export function manifestsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("manifests")
    .description("print the objects of an installation as YAML, for kubectl apply -f -")
    .option("-n, --namespace <name>", "Meshward's own namespace", namespaceName, byDefault.namespace)
    .option("--istio-namespace <name>", "Istio's root namespace", namespaceName, byDefault.istioNamespace)
    .option("--image <reference>", "container image", imageReference, byDefault.image)
    .option("--replicas <number>", "number of replicas", replicaCount, byDefault.replicas)
    .addOption(
      new Option("--spread <rule>", "whether two replicas may run on one node only if necessary, or never")
        .choices(["preferred", "required"])
        .default(byDefault.spread),
    )
    .addOption(
      new Option(
        "--certificates <source>",
        `where the certificate comes from; default: ${byDefault.certificates}`,
      ).choices(certificateKinds),
    )
    .option("--ca-file <file>", "PEM certificate of the authority, for caBundle, if nothing else sets it")
    .option(
      "--client-ca-config-map <name>",
      "ConfigMap with PEM authorities in ca.crt: only clients with a certificate of one of them may call the webhook",
      objectName,
    )
    .option(
      "--client-name <name...>",
      "with --client-ca-config-map: the certificate needs one of these names",
      (name: string, names: readonly string[]) => [...names, name],
      [],
    )
    .addOption(
      new Option(
        "--failure-policy <policy>",
        "whether Istio and Gateway API objects are refused or admitted outside of protected namespaces while Meshward is unavailable",
      )
        .choices(failurePolicies)
        .default(byDefault.failurePolicy),
    )
    .addOption(
      new Option("--protected-failure-policy <policy>", "the same in protected namespaces")
        .choices(failurePolicies)
        .default(byDefault.protectedFailurePolicy),
    )
    .addOption(policiesOption())
    .addOption(profileOption())
    .option("--no-definitions", "leave the CustomResourceDefinitions of MeshwardPolicy and MeshwardException out")
    .option("--no-network-policy", "leave the NetworkPolicy out")
    .option(
      "--monitoring",
      "add a ServiceMonitor, alert rules and a Grafana dashboard; the Prometheus operator must be installed",
      byDefault.monitoring,
    )
    .option("--url <url>", "Meshward runs outside of the cluster at this https URL", httpsUrl)
    .action(async (options: ManifestsOptions) => finish(await manifests(options, terminal)));
}

/** Throws a UsageError for options that contradict each other and for files that cannot be read. */
export async function manifests(options: ManifestsOptions, terminal: Pick<Terminal, "out">): Promise<ExitCode> {
  terminal.out(yamlOf(installation(rules, await installationOptions(options))));
  return 0;
}

async function installationOptions(options: ManifestsOptions): Promise<InstallationOptions> {
  const { policies: paths, profile, caFile, url, certificates = byDefault.certificates, ...others } = options;
  const { clientCaConfigMap, clientName, ...rest } = others;
  const contradiction = contradictionIn(options);
  if (contradiction !== undefined) throw new UsageError(contradiction);
  const { policies, documents, errors } = await policiesOf(options);
  if (errors.length > 0)
    throw new UsageError(
      `${shownPolicies(options)} has errors, correct them first:\n${errors.map((error) => `  ${shownError(error)}`).join("\n")}`,
    );
  return {
    ...byDefault,
    ...rest,
    profile,
    certificates,
    protectedNamespaces: protectedNamespacesOf(policies),
    ...(paths === undefined ? {} : { policies: policiesText(documents, options) }),
    ...(caFile === undefined ? {} : { authority: certificateIn(caFile) }),
    ...(url === undefined ? {} : { url }),
    ...(clientCaConfigMap === undefined
      ? {}
      : { clients: { authorityConfigMap: clientCaConfigMap, names: clientName } }),
  };
}

function contradictionIn(options: ManifestsOptions): string | undefined {
  const { url, certificates, caFile, monitoring, clientCaConfigMap, clientName } = options;
  if (clientName.length > 0 && clientCaConfigMap === undefined)
    return "--client-name needs --client-ca-config-map, the authorities of the client certificates";
  if (url === undefined)
    return caFile !== undefined && certificates !== "secret"
      ? "--ca-file would be overwritten, because something else sets caBundle; add --certificates secret, or remove --ca-file"
      : undefined;
  const inside = {
    "--certificates": certificates,
    "--monitoring": monitoring,
    "--client-ca-config-map": clientCaConfigMap,
  };
  const [option] = Object.entries(inside).find(([, value]) => value !== undefined && value !== false) ?? [];
  return option === undefined
    ? undefined
    : `${option} is about a Meshward in the cluster, and --url about one outside of it; remove one of them`;
}

/** The documents that are in force, as one file. Throws a UsageError if a ConfigMap cannot contain them. */
function policiesText(documents: readonly Manifest[], options: ManifestsOptions): string {
  const text = yamlOf(documents.map(({ raw }) => raw) as unknown as readonly KubernetesObject[]);
  const bytes = Buffer.byteLength(text);
  if (bytes > largestConfigMap)
    throw new UsageError(
      `${shownPolicies(options)} has ${bytes} bytes of documents, and a ConfigMap contains at most ${largestConfigMap}; remove documents or shorten them`,
    );
  return text;
}

/** 1 MiB (Kubernetes pkg/apis/core/validation.go ValidateConfigMap), less some for the object around it. */
const largestConfigMap = 1_000_000;

function certificateIn(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new UsageError(`--ca-file ${path} cannot be read: ${unreadable(error)}`);
  }
  if (/^-----BEGIN CERTIFICATE-----$/m.test(text) && !text.includes("PRIVATE KEY")) return text;
  throw new UsageError(`--ca-file ${path} must contain certificates in PEM, and no private key`);
}

function objectName(text: string): string {
  if (/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError("expected the name of an object: lower case letters, digits, - and .");
}

function imageReference(text: string): string {
  const problem = imageReferenceProblem(text);
  if (problem === undefined) return text;
  throw new InvalidArgumentError(`${problem}; expected a reference such as registry.example.com/meshward:1.2.3.`);
}

function replicaCount(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number, at least 1.");
}

/** What the API server accepts in clientConfig.url (apiserver pkg/util/webhook/validation.go ValidateWebhookURL). */
function httpsUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === "https:" && `${url.username}${url.password}${url.search}${url.hash}` === "") return text;
  throw new InvalidArgumentError("expected https://HOST[:PORT][/PATH], without a user, a query and a fragment.");
}
