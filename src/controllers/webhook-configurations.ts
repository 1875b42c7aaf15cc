import { isObject, member } from "../kube/read.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import type { Pace } from "../sources/cluster/pace.ts";
import type { Log } from "../telemetry/log.ts";
import { certificatesIn } from "../tls/authority.ts";
import type { Trust } from "../tls/rotation.ts";
import { FollowedObjects } from "./followed-objects.ts";
import { type KubeObject, ObjectClient, type Resource } from "./objects.ts";

const admission = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false } as const;
/** Both kinds of webhook configurations. */
export const configurationKinds: readonly Resource[] = [
  { ...admission, kind: "ValidatingWebhookConfiguration", plural: "validatingwebhookconfigurations" },
  { ...admission, kind: "MutatingWebhookConfiguration", plural: "mutatingwebhookconfigurations" },
];

/** One webhook of a configuration. */
export interface WebhookEntry {
  readonly index: number;
  readonly name: string;
  /** PEM; empty if there is none. */
  readonly caBundle: string;
  /** Of the certificates in caBundle. */
  readonly fingerprints: ReadonlySet<string>;
}

/** A webhook configuration that exists. */
export interface FoundConfiguration {
  /** `ValidatingWebhookConfiguration meshward` */
  readonly title: string;
  readonly client: ObjectClient;
  readonly object: KubeObject;
  /** Meshward's own webhooks in it. */
  readonly entries: readonly WebhookEntry[];
}

export interface WebhookConfigurationsOptions {
  readonly connection: ClusterConnection;
  /** Of both configurations. */
  readonly name: string;
  readonly log: Log;
  /** Called after each change. Must not throw. */
  readonly changed: () => void;
  readonly pace?: Pace;
}

/** Both of Meshward's webhook configurations, followed by watch: what the API server trusts when it calls Meshward. */
export class WebhookConfigurations {
  readonly #name: string;
  readonly #all: readonly { readonly followed: FollowedObjects; readonly client: ObjectClient }[];

  constructor({ connection, name, log, changed, pace }: WebhookConfigurationsOptions) {
    this.#name = name;
    let isTold = false;
    const isChanged = () => {
      const { problem } = this;
      const isBlind = problem !== undefined && problem !== notRead;
      if (isBlind && !isTold)
        log.warn(
          { name, problem },
          "the webhook configurations cannot be read, so caBundle is neither checked nor written",
        );
      isTold = isBlind;
      changed();
    };
    this.#all = configurationKinds.map((resource) => ({
      client: new ObjectClient(connection, resource),
      followed: new FollowedObjects({
        connection,
        resource,
        name,
        changed: isChanged,
        ...(pace === undefined ? {} : { pace }),
      }),
    }));
  }

  /** Why the configurations are not known: a permission is missing, or they were not listed yet. */
  get problem(): string | undefined {
    for (const { followed } of this.#all)
      if (followed.state.status !== "synced") return followed.state.problem ?? notRead;
    return undefined;
  }

  get isLoading(): boolean {
    return this.#all.some(({ followed }) => followed.state.status === "loading");
  }

  /** The configurations that exist. */
  found(): readonly FoundConfiguration[] {
    return this.#all.flatMap(({ followed, client }) => {
      const object = followed.get({ name: this.#name });
      if (object === undefined) return [];
      return [{ title: `${client.resource.kind} ${this.#name}`, client, object, entries: entriesIn(object) }];
    });
  }

  /**
   * Whether every webhook of Meshward trusts this authority. `all` if no configuration exists, because the API server
   * calls nobody then.
   */
  trust(pem: string): Trust {
    if (this.problem !== undefined) return "unknown";
    const [wanted] = certificatesIn(pem);
    const isTrusted = ({ fingerprints }: WebhookEntry) => fingerprints.has(wanted?.fingerprint256 ?? "");
    return this.found().every(({ entries }) => entries.every(isTrusted)) ? "all" : "some";
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map(({ followed }) => followed.close()));
  }
}

const notRead = "the webhook configurations were not read yet";

/** Webhooks that somebody else has put into the configuration are theirs. */
const isOwn = (name: string): boolean => name.endsWith(".meshward.io");

/** Decoding certificates takes a while, and the same objects are asked about every second. */
const known = new WeakMap<KubeObject, readonly WebhookEntry[]>();

/** Meshward's own webhooks in a configuration. */
export function entriesIn(configuration: KubeObject): readonly WebhookEntry[] {
  const entries = known.get(configuration) ?? readEntries(configuration);
  known.set(configuration, entries);
  return entries;
}

function readEntries(configuration: KubeObject): readonly WebhookEntry[] {
  const webhooks = Array.isArray(configuration["webhooks"]) ? (configuration["webhooks"] as readonly unknown[]) : [];
  return webhooks.flatMap((webhook, index) => {
    const name = member(webhook, "name");
    if (typeof name !== "string" || !isOwn(name)) return [];
    const encoded = member(member(webhook, "clientConfig"), "caBundle");
    const caBundle = typeof encoded === "string" ? Buffer.from(encoded, "base64").toString("utf8") : "";
    return [
      { index, name, caBundle, fingerprints: new Set(certificatesIn(caBundle).map((one) => one.fingerprint256)) },
    ];
  });
}

const settersOfBundles = [
  "cert-manager.io/inject-ca-from",
  "cert-manager.io/inject-ca-from-secret",
  "cert-manager.io/inject-apiserver-ca",
  "service.beta.openshift.io/inject-cabundle",
];

/** Who else sets caBundle of this configuration, as far as its metadata says. */
export function otherOwners({ metadata }: KubeObject, own: string): string | undefined {
  const annotation = settersOfBundles.find((name) => metadata.annotations?.[name] !== undefined);
  if (annotation !== undefined) return `the annotation ${annotation}`;
  const managed: unknown = (metadata as { managedFields?: unknown }).managedFields;
  const managers = Array.isArray(managed) ? (managed as readonly unknown[]) : [];
  const setting = managers.filter(
    (entry) => isObject(entry) && JSON.stringify(entry["fieldsV1"] ?? "").includes('"f:caBundle"'),
  );
  const names = setting
    .map((entry) => member(entry, "manager"))
    .filter((name) => typeof name === "string" && name !== own);
  return names.length > 0 ? `the field manager ${names.join(", ")}` : undefined;
}
