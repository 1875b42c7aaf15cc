import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { fixOfUndiscovered } from "../../mesh/membership/control-plane.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { mtls } from "../../mesh/mtls/effective-mtls.ts";
import {
  type AcceptedPlaintext,
  fixOfDropped,
  plaintextCause,
  plaintextIn,
  topicOf,
} from "../../mesh/mtls/plaintext.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";

export const namespaceMtlsNotStrict = defineRule({
  id: "namespace-mtls-not-strict",
  subject: "Namespace",
  reads: [mtls, captured],
  worksWithout: ["Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "Workloads of a namespace, or one of their ports, accept plaintext.",
  why: "Without a PeerAuthentication, the mode is PERMISSIVE (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication; for ambient pods pilot/pkg/serviceregistry/ambient/authorization.go): callers without a certificate are accepted, have no identity, and no rule for principals or namespaces matches them. namespace-mtls-weakened reports the change that causes it for existing workloads; this rule also reports workloads that are created afterwards, and what existed before.",
  fix: "Apply a PeerAuthentication with mode STRICT, without a selector, in this namespace or in the root namespace, before the workloads.",
  incident: {
    symptoms: ["plaintext"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A call without a certificate gets an answer: `curl` from a pod outside the mesh.",
    wayOut:
      "Nothing is broken. `meshward explain namespace/NAMESPACE --mesh cluster --strict` shows which callers would fail before you require mTLS.",
    silentWhen:
      "The namespace is being deleted, it is the root namespace and none of its workloads is certainly captured, its workloads are outside the mesh (namespace-not-in-mesh), or an exception accepts the policy that causes it.",
    page: "https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/",
  },

  *check(namespace, mesh) {
    yield* problemsOf({ object: namespace, mesh });
  },

  *compare(before, after) {
    // Of a set of changes, each Namespace is a subject. Of one, what others had before is left out in the end.
    const isSubject = after.only === undefined || after.only.object === after.object;
    yield* problemsOf(after, before, isSubject);
  },
});

function* problemsOf(after: Side, before?: Side, isSubject = false): Iterable<Problem | undefined> {
  if (isTerminating(after.object)) return;
  const { rootNamespace } = after.mesh.settings;
  for (const accepted of yield* plaintextIn(after, before, isSubject)) {
    // The workloads of the root namespace are the control plane.
    if (after.object.metadata.name === rootNamespace && accepted.who !== "existing") continue;
    const { is, isIntroduced, who } = accepted;
    const subject = whoOf(accepted);
    yield {
      at: [],
      topic: topicOf(is),
      key: `${subject} plaintext ${is.by === undefined ? "" : idOf(is.by)}`,
      ...saidOf(accepted, after),
      ...evidenceOf(accepted, after.object, rootNamespace),
      ...(isIntroduced ? {} : { existed: true }),
      ...(who === "existing"
        ? {}
        : { onlyWarns: who === "new" ? "no workload accepts it yet" : "not all workloads are known" }),
    };
  }
}

type Side = Parameters<typeof plaintextIn>[0];

function saidOf(accepted: AcceptedPlaintext, { object, mesh }: Side): Pick<Problem, "message" | "fix"> {
  const { is, port } = accepted;
  const message = `${whoOf(accepted)} plaintext${modeOf(accepted)}: ${plaintextCause(is, port)}`;
  if (is.by !== undefined || !mesh.get(mtls, object).isLeftOut) return { message, ...fixOf(accepted) };
  return {
    message: `${message}, and the discoverySelectors leave out the namespace`,
    fix: `Apply a PeerAuthentication with mode STRICT, without a selector, in the root namespace. ${fixOfUndiscovered(object.metadata.name)}`,
  };
}

function whoOf({ labels, port, who }: AcceptedPlaintext): string {
  const workloads = who === "new" ? "new workloads" : "workloads";
  const which = labels === undefined ? workloads : `${workloads} labelled ${formatLabels(labels)}`;
  return port === undefined ? `${which[0]?.toUpperCase()}${which.slice(1)} accept` : `Port ${port} of ${which} accepts`;
}

const modeOf = ({ onlyAs }: AcceptedPlaintext): string => {
  if (onlyAs === undefined) return "";
  return onlyAs === "ambient" ? " in ambient mode" : " behind a sidecar";
};

/** Nothing if the fix of the rule, which is for a missing policy, applies. */
function fixOf({ is: { by, isDropped }, port }: AcceptedPlaintext): Pick<Problem, "fix"> {
  if (by === undefined) return {};
  if (isDropped) return { fix: fixOfDropped(by) };
  const where = port === undefined ? "" : ` at port ${port}`;
  return { fix: `Set mode STRICT${where} in ${idOf(by)}, or write a MeshwardException with an end date.` };
}

/** An exception for a policy of the namespace, or for the change that led here, is enough. */
function evidenceOf(
  { is: { by, isDropped } }: AcceptedPlaintext,
  namespace: Namespace,
  rootNamespace: string,
): Pick<Problem, "evidence" | "related" | "acceptedWith"> {
  const { name } = namespace.metadata;
  const weakened = { rule: "namespace-mtls-weakened", object: namespace };
  if (by === undefined)
    return {
      evidence: [absent("PeerAuthentication", name), absent("PeerAuthentication", rootNamespace)],
      acceptedWith: [weakened],
    };
  const permissive = { rule: "peer-authentication-permissive", object: by };
  return {
    evidence: [by],
    related: [by],
    // Who accepts the modes of a policy does not accept that ztunnel does not get them.
    acceptedWith: by.metadata.namespace === name && !isDropped ? [permissive, weakened] : [weakened],
  };
}
