import { kinds } from "../../kube/kinds.ts";
import { nearest } from "../../text/nearest.ts";

/**
 * A caller as users write it in `from` of an intent, in `--from` and in tests, before it is looked up in a mesh:
 * `serviceaccount/orders/api`, `namespace/web`, `deployment/orders/api`, `mesh`, `outside`, `ingress`, `ingress/infra/public`.
 */
export type CallerName =
  | { readonly kind: "serviceAccount"; readonly namespace: string; readonly name: string }
  | { readonly kind: "namespace"; readonly namespace: string }
  /** `originKind` undefined: any kind that runs pods. */
  | {
      readonly kind: "workload";
      readonly originKind: string | undefined;
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly kind: "mesh" }
  | { readonly kind: "outside" }
  /** Without a name, every ingress gateway, of one namespace or of all. */
  | { readonly kind: "ingress"; readonly namespace: string | undefined; readonly name: string | undefined }
  /** Everybody whom no other entry of the same document names. */
  | { readonly kind: "others" };

/** The text names no caller. `meant`: what was probably meant. */
export interface UnknownCaller {
  readonly kind: "unknown";
  readonly meant: string | undefined;
}

/** Callers that are a word of their own. */
export const callerWords = ["mesh", "outside", "ingress", "others"] as const;

const shortNames = { deploy: "Deployment", sts: "StatefulSet", ds: "DaemonSet", rs: "ReplicaSet", po: "Pod" };
/** The names that kubectl accepts for kinds that run pods, in lower case; `workload` is any of them. */
const workloadKinds = new Map<string, string | undefined>([
  ["workload", undefined],
  ...kinds.Workload.served.flatMap(({ kind, plural }) => [
    [kind.toLowerCase(), kind] as const,
    [plural, kind] as const,
  ]),
  ...Object.entries(shortNames),
]);
const accounts: ReadonlySet<string> = new Set(["serviceaccount", "serviceaccounts", "sa"]);
const namespaces: ReadonlySet<string> = new Set(["namespace", "namespaces", "ns"]);
const firstWords = [...callerWords, "serviceaccount", "namespace", ...workloadKinds.keys()];

/** Reads a caller. `home` is the namespace of a service account or a workload that names none. */
export function readCaller(text: string, home: string): CallerName | UnknownCaller {
  const meant = accountOfPrincipal(text);
  if (meant !== undefined) return { kind: "unknown", meant };
  const [first = "", ...names] = text.trim().split("/");
  const word = first.toLowerCase();
  if (names.length === 0) return readWord(word);
  if (names.length > 2 || names.includes("")) return { kind: "unknown", meant: undefined };
  return readNamed(word, names, home);
}

/** A principal as policies and certificates have it. */
function accountOfPrincipal(text: string): string | undefined {
  const [, namespace, name] = /\/ns\/([^/*]+)\/sa\/([^/*]+)$/.exec(text) ?? [];
  return namespace === undefined ? undefined : `serviceaccount/${namespace}/${name}`;
}

function readNamed(word: string, names: readonly string[], home: string): CallerName | UnknownCaller {
  if (word === "ingress") return readIngress(names);
  if (namespaces.has(word)) return readNamespace(names);
  const [namespace = home, name = ""] = names.length > 1 ? names : [home, ...names];
  if (accounts.has(word)) return { kind: "serviceAccount", namespace, name };
  if (workloadKinds.has(word)) return { kind: "workload", originKind: workloadKinds.get(word), namespace, name };
  const meant = nearest(word, firstWords);
  return { kind: "unknown", meant: meant === undefined ? undefined : [meant, ...names].join("/") };
}

const readNamespace = ([namespace = "", ...more]: readonly string[]): CallerName | UnknownCaller =>
  more.length === 0 ? { kind: "namespace", namespace } : { kind: "unknown", meant: `namespace/${namespace}` };

function readWord(word: string): CallerName | UnknownCaller {
  if (word === "ingress") return { kind: "ingress", namespace: undefined, name: undefined };
  if (word === "mesh" || word === "outside" || word === "others") return { kind: word };
  return { kind: "unknown", meant: nearest(word, callerWords) };
}

/** `ingress/infra` is every ingress gateway of a namespace, `ingress/infra/public` one of them. */
function readIngress([namespace, name]: readonly string[]): CallerName {
  return { kind: "ingress", namespace, name };
}

/** The same caller in one form, whatever short names were used. */
export function formatCallerName(caller: CallerName): string {
  switch (caller.kind) {
    case "serviceAccount":
      return `serviceaccount/${caller.namespace}/${caller.name}`;
    case "namespace":
      return `namespace/${caller.namespace}`;
    case "workload":
      return `${(caller.originKind ?? "workload").toLowerCase()}/${caller.namespace}/${caller.name}`;
    case "ingress":
      return ["ingress", caller.namespace, caller.name].filter((part) => part !== undefined).join("/");
    default:
      return caller.kind;
  }
}
