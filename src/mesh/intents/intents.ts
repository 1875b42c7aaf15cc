import type { ObjectOf } from "../../kube/object.ts";
import { globs } from "../../text/globs.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { type CallerName, readCaller, type UnknownCaller } from "../requests/caller-names.ts";
import { isDomain } from "../traffic/host-syntax.ts";
import { namespaceOfHost } from "../traffic/hosts.ts";

/** What must become of some requests. */
export type Intent = ObjectOf<"MeshwardIntent">;
/** One entry of `spec.requests`. */
export type Entry = Intent["spec"]["requests"][number];

/** What an intent can expect of requests. */
export const expectations = ["allowed", "denied", "encrypted", "routed"] as const;

/** As the API server validates names of Services. */
export const isServiceName = (text: string): boolean => /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text);

/** Whether a text is the name of one host, as clients ask for it. */
export const isNameOfHost = (text: string): boolean => isDomain(text) && !text.endsWith(".");
/** The namespace of the Service that a host names; undefined: it names none. */
export const namespaceOfServiceHost = (host: string, { domain }: Pick<MeshSettings, "domain">): string | undefined =>
  namespaceOfHost(host.endsWith(".svc") ? `${host}.${domain}` : host, domain);

/** The most entries of an intent. They are compared with each other. */
export const mostEntries = 32;

/** Whether an intent is about the workloads of other namespaces, which only one in the root namespace can be. */
export const isClusterWide = ({ metadata, spec }: Intent, { rootNamespace }: MeshSettings): boolean =>
  spec.to.namespaces !== undefined && metadata.namespace === rootNamespace;

/** An intent about its own namespace, and that namespace. */
export const namespaceOfIntent = relation(
  "namespaceOfIntent",
  index("MeshwardIntent", ({ metadata, spec }) => (spec.to.namespaces === undefined ? [metadata.namespace] : [])),
  namespaceByName,
);

/** An intent and the namespaces whose callers it names. */
export const callersOfIntent = relation("callersOfIntent", index("MeshwardIntent", namespacesNamed), namespaceByName);

function namespacesNamed(intent: Intent): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { from } of intent.spec.requests)
    for (const text of from) {
      const caller = callerIn(intent, text);
      if ("namespace" in caller && caller.namespace !== undefined) found.add(caller.namespace);
    }
  return found;
}

/** A caller that an intent names; service accounts and workloads without a namespace are those of its own. */
export const callerIn = ({ metadata }: Intent, text: string): CallerName | UnknownCaller =>
  readCaller(text, metadata.namespace);

/**
 * The entries of an intent that answer the same question as one of its entries: who may send requests (allowed, denied), whether
 * they are encrypted, or where they are routed. `others` are those whom none of these names: an entry that expects everybody's
 * requests to be encrypted leaves others to deny.
 */
export const entriesBeside = ({ spec }: Intent, entry: Entry): readonly Entry[] =>
  spec.requests.filter(({ expect }) => questionOf(expect) === questionOf(entry.expect));

const questionOf = (expect: string): string => (expect === "allowed" ? "denied" : expect);

/** A namespace and the intents in it. */
export const intentsOfNamespace = relation(
  "intentsOfNamespace",
  namespaceByName,
  index("MeshwardIntent", ({ metadata }) => [metadata.namespace]),
);

/** A namespace and the intents of the root namespace that are about every workload of some namespaces. */
export const clusterIntentsOfNamespace = relation(
  "clusterIntentsOfNamespace",
  index("Namespace", () => ["every namespace"]),
  index("MeshwardIntent", (intent, settings) => (isClusterWide(intent, settings) ? ["every namespace"] : [])),
);

/**
 * Whether a cluster-wide intent is about a namespace; undefined: its labels are not known. If names and labels are set, both
 * have to match.
 */
export function isAbout({ spec }: Intent, { metadata, implied }: Namespace): boolean | undefined {
  const { names = [], labels = {} } = spec.to.namespaces ?? {};
  const wanted = Object.entries(labels);
  if (names.length + wanted.length === 0) return false;
  if (names.length > 0 && !globs(names).matches(metadata.name)) return false;
  if (wanted.length === 0) return true;
  if (implied) return undefined;
  return wanted.every(([key, value]) => metadata.labels[key] === value);
}
