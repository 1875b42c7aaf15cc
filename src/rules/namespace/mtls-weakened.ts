import { defineRule, type Problem } from "../../engine/rule.ts";
import { keyOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import { isSetByRules, isSetForSome, mutualByRule, servicesWithoutTls } from "../../mesh/client-tls/services-by-tls.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { disabledBy, mtls, type PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { declared, type DeclaredMode, type Levels, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { fixOfDropped, plaintextCause, topicOf } from "../../mesh/mtls/plaintext.ts";
import {
  type Loss,
  mtlsSwitchedOff,
  type WeakenedMode,
  type Weakening,
  weakenings,
} from "../../mesh/mtls/weakenings.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import { type MeshView, setting } from "../../view/view.ts";

/** Which TLS clients of a namespace use. */
const clientReads = [mtls, mutualByRule, servicesWithoutTls, setting("autoMtls")] as const;

export const namespaceMtlsWeakened = defineRule({
  id: "namespace-mtls-weakened",
  subject: "Namespace",
  reads: [...clientReads, workloadsOfNamespace],
  worksWithout: ["DestinationRule", "Service", "Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary:
    "A workload or port that refused plaintext accepts it after the change, or clients no longer use mTLS for it, also where it refuses them then.",
  why: "At each level (mesh, namespace, workload) the oldest PeerAuthentication applies, and unset modes are inherited (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication; for ambient pods pilot/pkg/serviceregistry/ambient/authorization.go): deleting or adding a policy or changing the labels of a workload can make other objects accept callers without a certificate. With DISABLE instead of PERMISSIVE, clients that used mTLS send plaintext (pilot/pkg/xds/endpoints/mtls_checker.go checkMtlsEnabled; with DISABLE for the namespace, whatever mode a workload has: pilot/pkg/model/push_context.go BestEffortInferServiceMTLSMode), and policies that name callers match none. If only DestinationRules made clients use mTLS (without auto mTLS, or with DISABLE for the namespace), workloads that are STRICT refuse all of them without these rules (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). peer-authentication-permissive checks the modes that a policy of the namespace itself sets.",
  fix: "Keep a PeerAuthentication with mode STRICT in force for the namespace and its workloads, or write a MeshwardException with an end date.",
  incident: {
    symptoms: ["plaintext", "reset"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A call without a certificate, which was reset before the change, gets an answer. Or, where clients no longer use mTLS for a workload that is STRICT, every call is reset.",
    wayOut:
      "Apply the policy that required mTLS again; the message names it; or the DestinationRule that set ISTIO_MUTUAL. Callers in plaintext that appeared meanwhile fail then.",
    silentWhen:
      "Workloads or ports accepted plaintext before and clients still use mTLS or used none, they are outside the mesh, or a policy of the namespace itself is the cause, which peer-authentication-permissive reports at its field.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const isSaidElsewhere = saidByPolicies(after.object, before.mesh.get(mtls, before.object).levels);
    for (const weakening of weakenings(before, after, isSaidElsewhere)) yield problemOf(weakening);
    for (const weakening of weakenings(before, after, undefined, lossOfClients(before, after)))
      yield switchedOff(weakening, after.object);
  },
});

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof clientReads)[number]>;
}

/**
 * Where only DestinationRules make clients use mTLS, a Service that is new or gone is no loss: some clients keep it, or there are none.
 * mesh-config-weakened reports that auto mTLS is disabled.
 */
function lossOfClients(before: Side, after: Side): Loss {
  const [was, is] = [before.mesh.get(mutualByRule, before.object), after.mesh.get(mutualByRule, after.object)];
  const { autoMtls } = after.mesh.settings;
  const isByRules = !autoMtls || disabledBy(before.mesh.get(mtls, before.object)) !== undefined;
  const isKept = isByRules ? isSetForSome : isSetByRules;
  // Other rules report another TLS that a DestinationRule sets. Where none has set mTLS, STRICT is refused for another reason.
  const isRefused = (labels: Labels) =>
    isByRules && isSetByRules(was, labels) && after.mesh.get(servicesWithoutTls, after.object).meet(labels);
  return mtlsSwitchedOff(
    { autoMtls, isSet: (labels) => isSetByRules(was, labels), isRefused: () => true },
    { autoMtls, isSet: (labels) => isKept(is, labels), isRefused },
    isByRules && was !== is,
  );
}

/**
 * Whether a policy of the namespace itself newly accepts plaintext. peer-authentication-permissive reports it at the
 * field, so that an exception for that one policy is enough.
 */
function saidByPolicies({ metadata }: Namespace, old: Levels): (mode: WeakenedMode) => boolean {
  let byKey: Map<string, PeerAuthentication> | undefined;
  const sameLabels = new Map<PeerAuthentication, boolean>();
  return ({ is: { by }, port }) => {
    if (by === undefined || by.metadata.namespace !== metadata.name) return false;
    const place = portModeOf(by, port) === "UNSET" ? undefined : port;
    if (!isOpen(by, place)) return false;
    byKey ??= new Map([...old.mesh, ...old.namespace, ...old.workload].map((policy) => [keyOf(policy), policy]));
    const known = byKey.get(keyOf(by));
    if (known === undefined || !isOpen(known, place)) return true;
    const isSame = sameLabels.get(by) ?? labelsOf(known) === labelsOf(by);
    sameLabels.set(by, isSame);
    return !isSame;
  };
}

const portModeOf = (policy: PeerAuthentication, port: number | undefined): DeclaredMode =>
  (port === undefined ? undefined : portModes(policy).get(port)) ?? "UNSET";

/** Whether a policy itself sets a mode that accepts plaintext: at a port, or for all ports that it does not list. */
function isOpen(policy: PeerAuthentication, port: number | undefined): boolean {
  const mode = port === undefined ? declared(policy.spec.mtls) : portModeOf(policy, port);
  return mode === "PERMISSIVE" || mode === "DISABLE";
}

const labelsOf = ({ spec }: PeerAuthentication): string => formatLabels(spec.selector?.matchLabels ?? {});

function problemOf(weakening: Weakening): Problem {
  const { was, is } = weakening;
  const who = whoOf(weakening);
  const related = [was.by, is.by].filter((policy) => policy !== undefined);
  return {
    at: [],
    topic: topicOf(is),
    message: `${who} plaintext${modeOf(weakening)}: ${plaintextCause(is, weakening.port)}`,
    key: `${who} plaintext`,
    ...(is.isDropped && is.by ? { fix: fixOfDropped(is.by) } : {}),
    ...(related.length > 0 ? { related: [...new Set(related)] } : {}),
  };
}

/** Callers without mTLS have no identity, so that no policy that names callers matches them. */
function switchedOff(weakening: Weakening, { metadata }: Namespace): Problem {
  const { by, isRefused } = weakening.is;
  const who = subjectOf(weakening);
  const effect = isRefused ? " and are refused" : ", which then know no caller";
  return {
    at: [],
    message: `Clients no longer use mTLS for ${who}${modeOf(weakening)}${effect}: ${by === undefined ? "auto mTLS is disabled, and no DestinationRule that they use sets ISTIO_MUTUAL" : plaintextCause(weakening.is, weakening.port)}`,
    key: `no mTLS for ${who}`,
    fix:
      by === undefined || isRefused
        ? "Keep a DestinationRule with tls mode ISTIO_MUTUAL for the Services of these workloads."
        : "Use mode PERMISSIVE instead of DISABLE: it accepts plaintext too, and clients of the mesh use mTLS.",
    ...(by === undefined ? {} : { related: [by] }),
    ...(by?.metadata.namespace === metadata.name
      ? { acceptedWith: [{ rule: "peer-authentication-permissive", object: by }] }
      : {}),
  };
}

function whoOf(weakening: Weakening): string {
  const { of, port } = weakening;
  const who = subjectOf(weakening);
  const isOne = port !== undefined || (of !== "namespace" && !("labels" in of));
  return `${who[0]?.toUpperCase()}${who.slice(1)} ${isOne ? "accepts" : "accept"}`;
}

/** `workloads labelled app=api`, `port 80 of Deployment "api"` */
function subjectOf({ of, port }: Weakening): string {
  const where = port === undefined ? "" : `port ${port} of `;
  if (of !== "namespace" && !("labels" in of)) return `${where}${of.originKind} ${JSON.stringify(of.metadata.name)}`;
  const labels = of === "namespace" ? "" : formatLabels(of.labels);
  return `${where}workloads${labels === "" ? "" : ` labelled ${labels}`}`;
}

const modeOf = ({ onlyAs }: Weakening): string => {
  if (onlyAs === undefined) return "";
  return onlyAs === "ambient" ? " in ambient mode" : " behind a sidecar";
};
