import packageJson from "../../package.json" with { type: "json" };
import type { Rule } from "../engine/rule.ts";
import { certManagerObjects, injectedAuthority } from "./cert-manager.ts";
import { documentDefinitions } from "./definitions.ts";
import { protectedByDefault, type ProtectedNamespaces } from "./fail-closed.ts";
import { monitoringObjects } from "./monitoring.ts";
import { installationName, type KubernetesObject, selectorLabels } from "./object.ts";
import { permissionObjects } from "./permissions.ts";
import { type FailurePolicy, webhookConfigurations } from "./webhooks.ts";
import { type ClientAuthentication, namespaceObject, workloadObjects } from "./workload.ts";

/**
 * Where the certificate of the webhook comes from:
 * - `self-signed`: the replicas share an authority in a Secret, and one of them renews it and sets caBundle.
 * - `cert-manager`: an Issuer and a Certificate, and an annotation that makes cert-manager set caBundle.
 * - `secret`: somebody else writes the Secret `meshward-certificate` and caBundle.
 */
export const certificateKinds = ["self-signed", "cert-manager", "secret"] as const;
export type CertificateKind = (typeof certificateKinds)[number];

export interface InstallationOptions {
  readonly namespace: string;
  /** The root namespace of Istio, which contains its ConfigMaps. */
  readonly istioNamespace: string;
  readonly image: string;
  readonly replicas: number;
  /** Whether a replica may run on a node that has one already. */
  readonly spread: "preferred" | "required";
  readonly certificates: CertificateKind;
  readonly failurePolicy: FailurePolicy;
  readonly protectedFailurePolicy: FailurePolicy;
  readonly protectedNamespaces: ProtectedNamespaces;
  readonly profile: string;
  /** MeshwardPolicy and MeshwardException documents as YAML text. */
  readonly policies?: string;
  /** Who may call the webhook; everyone who reaches it if undefined. */
  readonly clients?: ClientAuthentication;
  /** The CustomResourceDefinitions of MeshwardPolicy and MeshwardException. */
  readonly definitions: boolean;
  readonly networkPolicy: boolean;
  /** Objects of the Prometheus operator, and a dashboard. */
  readonly monitoring: boolean;
  /** Meshward runs outside of the cluster at this URL: no Deployment, and nothing that belongs to it. */
  readonly url?: string;
  /** PEM, for caBundle. */
  readonly authority?: string;
}

export const defaultInstallation: InstallationOptions = {
  namespace: "meshward-system",
  istioNamespace: "istio-system",
  image: `ghcr.io/meshward/meshward:${packageJson.version}`,
  replicas: 3,
  spread: "preferred",
  certificates: "self-signed",
  failurePolicy: "Ignore",
  protectedFailurePolicy: "Fail",
  protectedNamespaces: protectedByDefault,
  profile: "baseline",
  definitions: true,
  networkPolicy: true,
  monitoring: false,
};

/**
 * Everything that an installation consists of, in an order in which it can be created: webhooks come last, after what
 * answers them. The Helm chart, the kustomize base and `meshward manifests` all contain these objects.
 */
export function installation(rules: readonly Rule[], options: InstallationOptions): readonly KubernetesObject[] {
  const { namespace, url } = options;
  const isInside = url === undefined;
  return [
    namespaceObject(namespace),
    ...(options.definitions ? documentDefinitions(rules) : []),
    ...permissionObjects(rules, { ...options, ownsCertificates: isInside && options.certificates === "self-signed" }),
    ...(isInside ? workloadObjects(options) : []),
    ...(isInside && options.certificates === "cert-manager"
      ? certManagerObjects(namespace, serviceNames(namespace))
      : []),
    ...(isInside && options.monitoring ? monitoringObjects(namespace) : []),
    ...webhookObjects(rules, options),
  ].map(labelled);
}

/** The names under which clients in the cluster reach the webhook. The API server uses the first. */
export const serviceNames = (namespace: string): readonly string[] =>
  ["", ".cluster.local"].map((domain) => `${installationName}.${namespace}.svc${domain}`);

function webhookObjects(rules: readonly Rule[], options: InstallationOptions): readonly KubernetesObject[] {
  const { namespace, istioNamespace, failurePolicy, protectedFailurePolicy, protectedNamespaces, url, authority } =
    options;
  const annotations =
    url === undefined && options.certificates === "cert-manager" ? { annotations: injectedAuthority(namespace) } : {};
  return webhookConfigurations(rules, {
    ...(url === undefined ? { service: { name: installationName, namespace } } : { url }),
    ...(authority === undefined ? {} : { caBundle: authority }),
    namespace,
    rootNamespace: istioNamespace,
    failurePolicy,
    protectedFailurePolicy,
    protectedNamespaces,
    name: installationName,
  }).map(({ metadata, ...configuration }) => ({ ...configuration, metadata: { ...metadata, ...annotations } }));
}

const labels = { ...selectorLabels, "app.kubernetes.io/version": packageJson.version };

const labelled = (object: KubernetesObject): KubernetesObject => ({
  ...object,
  metadata: { ...object.metadata, labels: { ...labels, ...object.metadata.labels } },
});
