import { defineRule, type Problem } from "../../engine/rule.ts";
import { type Namespace, peerAuthenticationsOfNamespace } from "../../mesh/mtls.ts";
import { type Weakening, weakenings } from "../../mesh/mtls-weakenings.ts";
import { declared, portModes } from "../../mesh/peer-authentications.ts";
import { formatLabels } from "../../mesh/selectors.ts";
import { workloadsOfNamespace } from "../../mesh/workloads.ts";

export const mtlsWeakened = defineRule({
  id: "namespace-mtls-weakened",
  subject: "Namespace",
  reads: [peerAuthenticationsOfNamespace, workloadsOfNamespace],
  worksWithout: ["Workload"],
  mode: "deny",
  onlyProtected: true,
  tags: ["mtls"],
  summary: "A workload or port that refused plaintext accepts it after the change.",
  why: "At each level (mesh, namespace, workload) the oldest PeerAuthentication counts, and what it leaves unset inherits (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication; for ambient pods pilot/pkg/serviceregistry/ambient/authorization.go): deleting one, adding one or relabelling a workload can let callers in who have no certificate, far from the object that was changed.",
  fix: "Keep a PeerAuthentication with mode STRICT in force for the namespace and its workloads, or write a MeshwardException with an end date.",

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    for (const weakening of weakenings(before, after)) yield problemOf(weakening, after.object);
  },
});

const isTerminating = ({ metadata, status }: Namespace): boolean =>
  metadata.deletionTimestamp !== undefined || status.phase === "Terminating";

function problemOf(weakening: Weakening, namespace: Namespace): Problem {
  const { was, is } = weakening;
  const who = whoOf(weakening, namespace.metadata.name);
  const related = [was.by, is.by].filter((policy) => policy !== undefined);
  return {
    at: [],
    message: `${who} plaintext${modeOf(weakening)}: ${reasonOf(weakening)}`,
    key: `${who} plaintext`,
    ...(related.length > 0 ? { related: [...new Set(related)] } : {}),
  };
}

function whoOf({ of, port }: Weakening, namespace: string): string {
  if (of !== "namespace" && !("labels" in of)) {
    const workload = `${of.originKind} ${JSON.stringify(of.metadata.name)}`;
    return port === undefined ? `${workload} accepts` : `Port ${port} of ${workload} accepts`;
  }
  const labels = of === "namespace" ? "" : formatLabels(of.labels);
  const which = `${labels === "" ? "of" : `labelled ${labels} in`} namespace ${JSON.stringify(namespace)}`;
  return port === undefined ? `Workloads ${which} accept` : `Port ${port} of workloads ${which} accepts`;
}

const modeOf = ({ onlyAs }: Weakening): string => {
  if (onlyAs === undefined) return "";
  return onlyAs === "ambient" ? " in ambient mode" : " behind a sidecar";
};

function reasonOf({ is, port }: Weakening): string {
  if (is.by === undefined) return "no PeerAuthentication demands mTLS";
  const { metadata, spec } = is.by;
  const name = `PeerAuthentication ${metadata.namespace}/${metadata.name}`;
  if (is.isDropped) return `${name} names ports, and ztunnel gets neither them nor the STRICT mode around them`;
  const ofPort = portModes(is.by).find(([number]) => number === port)?.[1];
  return ofPort === undefined || ofPort === "UNSET"
    ? `${name} has mode ${declared(spec.mtls)}`
    : `${name} sets mode ${ofPort} there`;
}
