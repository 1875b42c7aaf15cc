import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { portsOfProbes } from "../../mesh/membership/interception.ts";
import { mtls, type NamespaceMtls, type PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { declared, type DeclaredMode, isWide, isWideInCel } from "../../mesh/mtls/peer-authentications.ts";
import {
  isAcceptedBy,
  namespaceOfPeerAuthentication,
  replacedPeerAuthentications,
} from "../../mesh/mtls/replaced-policies.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import type { MeshView } from "../../view/view.ts";

const forCallers = "Add callers that cannot use mTLS to the mesh, or write a MeshwardException with an end date.";

const ofProbes: ReadonlySet<string> = new Set([...portsOfProbes].map(String));
const ofProbesInCel = `[${[...ofProbes].map((port) => `'${port}'`).join(", ")}]`;

// In CEL: whether a mode accepts plaintext, and for which workloads the policy is.
const accepts = (mode: string): string => `(${mode}) in ['PERMISSIVE', 'DISABLE']`;
const who =
  "(object.metadata.namespace == settings.rootNamespace ? dyn('mesh') : has(object.spec.selector) && has(object.spec.selector.matchLabels) ? dyn(object.spec.selector.matchLabels) : dyn({}))";

const reads = [namespaceOfPeerAuthentication, replacedPeerAuthentications, mtls] as const;

export const peerAuthenticationPermissive = defineRule({
  id: "peer-authentication-permissive",
  subject: "PeerAuthentication",
  reads,
  worksWithout: ["PeerAuthentication"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A PeerAuthentication accepts plaintext for a namespace, for workloads or for a port.",
  why: "Callers without a certificate are accepted (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication): they have no identity, the traffic is not encrypted, and authorization rules for principals and namespaces do not match them. A policy without a mode inherits one and accepts nothing by itself. Of several policies at one level the oldest counts alone; one that it replaces only warns, until the older one is gone.",
  fix: `Set the mode to STRICT, or remove it to inherit a STRICT mode. ${forCallers}`,
  incident: {
    symptoms: ["plaintext"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A call without a certificate gets an answer from these workloads, or from this port.",
    wayOut:
      "Apply the previous version of the PeerAuthentication, or delete it, if the namespace or the mesh is STRICT. Callers in plaintext then fail: look at the metric first.",
    silentWhen:
      "The policy sets no mode, names a port at which only the sidecar answers, for metrics or probes, or has a selector in the root namespace, where Istio ignores it. A policy that does not apply because an older one does is reported, and only warns, because it takes effect as soon as the older one is gone; the change that takes that one away is denied. One whose labels only gateways have, which read none, is reported, because any pod can get them.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  cel: {
    stricter: "policies that an older one replaces, of which Meshward only warns",
    problems: `has(object.spec) && ${isServedInCel} && (object.metadata.namespace != settings.rootNamespace || ${isWideInCel})
? (${accepts("has(object.spec.mtls) && has(object.spec.mtls.mode) ? object.spec.mtls.mode : ''")} ? [[dyn('workloads'), ${who}]] : [])
+ (has(object.spec.portLevelMtls) && !${isWideInCel} ? object.spec.portLevelMtls.filter(port, !(port in ${ofProbesInCel}) && ${accepts("has(object.spec.portLevelMtls[port].mode) ? object.spec.portLevelMtls[port].mode : ''")}).map(port, [dyn(port), ${who}]) : [])
: []`,
  },

  *check(policy, mesh) {
    const { settings } = mesh;
    const isRoot = policy.metadata.namespace === settings.rootNamespace;
    // Istio ignores such policies, so they accept nothing.
    if (!isServed(policy, settings) || (isRoot && !isWide(policy))) return;
    const who = whoOf(policy, isRoot);
    const by = replacing(policy, mesh);
    const { portLevelMtls } = policy.spec;
    const wide = { at: ["spec", "mtls", "mode"], who: `Workloads ${who} accept`, by };
    // A mesh-wide policy inherits from none.
    for (const problem of accepting(declared(policy.spec.mtls), wide))
      yield isRoot && by === undefined ? { ...problem, fix: `Set the mode to STRICT. ${forCallers}` } : problem;
    // Without a selector they have no effect, and the API server refuses them.
    for (const [port, ofPort] of isWide(policy) ? [] : Object.entries(portLevelMtls)) {
      if (ofProbes.has(port)) continue;
      const at = ["spec", "portLevelMtls", port, "mode"];
      yield* accepting(declared(ofPort), { at, who: `Port ${port} of workloads ${who} accepts`, port, by });
    }
  },
});

/** The older policy that applies instead of a policy. */
interface Replacing {
  readonly older: PeerAuthentication;
  /** What it inherits if it sets no mode. */
  readonly inherited: NamespaceMtls;
}

/** What applies instead of a policy, as far as it is known. */
function replacing(policy: PeerAuthentication, mesh: MeshView<(typeof reads)[number]>): Replacing | undefined {
  const [namespace] = mesh.related(namespaceOfPeerAuthentication, policy);
  const older = namespace && mesh.get(replacedPeerAuthentications, namespace).get(policy);
  return older && { older, inherited: mesh.get(mtls, namespace) };
}

interface Place {
  readonly at: Problem["at"];
  /** Who accepts, as the beginning of a sentence. */
  readonly who: string;
  readonly port?: string;
  readonly by: Replacing | undefined;
}

function* accepting(mode: DeclaredMode, { at, who, port, by }: Place): Iterable<Problem> {
  if (mode !== "PERMISSIVE" && mode !== "DISABLE") return;
  // PERMISSIVE and DISABLE are the same problem: a change from one to the other accepts no additional callers.
  const key = `${who} plaintext`;
  const problem = { at, topic: "plaintext", key };
  yield by === undefined
    ? { ...problem, message: `${key}: the mode is ${mode}` }
    : {
        ...problem,
        ...behind(by, key, port),
        message: `${key} once ${idOf(by.older)} no longer applies: the mode is ${mode}`,
      };
}

/**
 * What is said of a policy that an older one replaces. Where that one refuses plaintext, it is another problem than the one of a policy
 * in force, so that the change that takes the older one away introduces a problem.
 */
function behind({ older, inherited }: Replacing, key: string, port: string | undefined): Partial<Problem> {
  const isOpen = isAcceptedBy(older, port === undefined ? undefined : Number(port), inherited);
  return {
    key: isOpen ? key : `${key} later`,
    related: [older],
    evidence: [older],
    onlyWarns: `the older ${idOf(older)} applies instead`,
    fix: `Delete the policy, which has no effect, or set its mode to STRICT before ${idOf(older)} goes.`,
  };
}

function whoOf({ metadata, spec }: PeerAuthentication, isRoot: boolean): string {
  if (isRoot) return "of every namespace that has no policy of its own";
  const labels = formatLabels(spec.selector?.matchLabels ?? {});
  const where = `namespace ${JSON.stringify(metadata.namespace)}`;
  return labels === "" ? `of ${where}` : `labelled ${labels} in ${where}`;
}
