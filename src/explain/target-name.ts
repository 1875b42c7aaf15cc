import { kinds } from "../kube/kinds.ts";
import { suggestion } from "../text/nearest.ts";

/** The name of a target as the user wrote it, before it is looked up. */
export type TargetName =
  | { readonly kind: "namespace"; readonly name: string }
  /** `originKind` undefined: any kind that runs pods. */
  | {
      readonly kind: "workload";
      readonly originKind: string | undefined;
      readonly namespace: string;
      readonly name: string;
    }
  /** `host` as written; `from` undefined: the namespace in the host name. */
  | { readonly kind: "host"; readonly host: string; readonly from: string | undefined }
  | { readonly kind: "service"; readonly namespace: string; readonly name: string; readonly from: string | undefined }
  /** A Gateway of Istio or of the Gateway API. */
  | { readonly kind: "gateway"; readonly namespace: string; readonly name: string };

export interface Words {
  readonly what: string;
  readonly name: string | undefined;
  /** The namespace of names without one. */
  readonly namespace: string;
  readonly from: string | undefined;
}

const shortNames: Readonly<Record<string, string>> = {
  deploy: "Deployment",
  sts: "StatefulSet",
  ds: "DaemonSet",
  rs: "ReplicaSet",
  cj: "CronJob",
  po: "Pod",
  rc: "ReplicationController",
};

/** The names that kubectl accepts for workload kinds, in lower case. */
const workloadKinds = new Map([
  ...kinds.Workload.served.flatMap(({ kind, plural }) => [
    [kind.toLowerCase(), kind] as const,
    [plural, kind] as const,
  ]),
  ...Object.entries(shortNames),
]);
const namespaceWords = ["namespace", "namespaces", "ns"];
const serviceWords = ["service", "services", "svc"];
const gatewayWords = ["gateway", "gateways", "gw", "gtw"];
const known = [...workloadKinds.keys(), ...namespaceWords, ...serviceWords, ...gatewayWords, "host", "workload"];

/**
 * Reads `namespace/payments`, `deployment/payments/api`, `deployment payments/api`, `deployment/api` (of the default
 * namespace), `host api.payments.svc.cluster.local`, `service/payments/api`, `gateway/ingress/public`, or the bare name of a workload.
 */
export function readTargetName({ what, name, namespace, from }: Words): TargetName | { readonly problem: string } {
  const parts = [...what.split("/"), ...(name === undefined ? [] : name.split("/"))];
  if (parts.some((part) => part === "") || parts.length > 3)
    return { problem: `${JSON.stringify([what, name].filter(Boolean).join(" "))} is not a target; ${examples}` };
  const [word = "", ...names] = parts;
  const last = names.at(-1);
  if (last === undefined) return { kind: "workload", originKind: undefined, namespace, name: word };
  return readKind(
    word.toLowerCase(),
    { name: last, namespace: names.length > 1 ? names[0] : undefined },
    namespace,
    from,
  );
}

const examples =
  "use namespace/payments, deployment/payments/api, gateway/ingress/public or host api.payments.svc.cluster.local --from orders";

function readKind(
  word: string,
  named: { readonly name: string; readonly namespace: string | undefined },
  fallback: string,
  from: string | undefined,
): TargetName | { readonly problem: string } {
  const { name, namespace = fallback } = named;
  const originKind = workloadKinds.get(word);
  if (originKind !== undefined || word === "workload") return { kind: "workload", originKind, namespace, name };
  if (gatewayWords.includes(word)) return { kind: "gateway", namespace, name };
  if (serviceWords.includes(word)) return { kind: "service", namespace, name, from };
  if (named.namespace === undefined) {
    if (namespaceWords.includes(word)) return { kind: "namespace", name };
    if (word === "host") return { kind: "host", host: name, from };
  }
  const hint = suggestion(word, known);
  return {
    problem: `explain supports namespaces, workloads, hosts and gateways, not ${JSON.stringify(word)}${hint || `; ${examples}`}`,
  };
}
