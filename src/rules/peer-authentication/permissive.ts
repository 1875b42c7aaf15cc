import { defineRule, type Problem } from "../../engine/rule.ts";
import { portsOfProbes } from "../../mesh/membership/interception.ts";
import type { PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { declared, type DeclaredMode, isWide, isWideInCel } from "../../mesh/mtls/peer-authentications.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";

const forCallers = "Add callers that cannot use mTLS to the mesh, or write a MeshwardException with an end date.";

const ofProbes: ReadonlySet<string> = new Set([...portsOfProbes].map(String));
const ofProbesInCel = `[${[...ofProbes].map((port) => `'${port}'`).join(", ")}]`;

// In CEL: whether a mode accepts plaintext, and for which workloads the policy is.
const accepts = (mode: string): string => `(${mode}) in ['PERMISSIVE', 'DISABLE']`;
const who =
  "(object.metadata.namespace == settings.rootNamespace ? dyn('mesh') : has(object.spec.selector) && has(object.spec.selector.matchLabels) ? dyn(object.spec.selector.matchLabels) : dyn({}))";

export const peerAuthenticationPermissive = defineRule({
  id: "peer-authentication-permissive",
  subject: "PeerAuthentication",
  reads: [],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A PeerAuthentication accepts plaintext for a namespace, for workloads or for a port.",
  why: "Callers without a certificate are accepted (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication): they have no identity, the traffic is not encrypted, and authorization rules for principals and namespaces do not match them. A policy without a mode inherits one and accepts nothing by itself.",
  fix: `Set the mode to STRICT, or remove it to inherit a STRICT mode. ${forCallers}`,
  incident: {
    symptoms: ["plaintext"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A call without a certificate gets an answer from these workloads, or from this port.",
    wayOut:
      "Apply the previous version of the PeerAuthentication, or delete it, if the namespace or the mesh is STRICT. Callers in plaintext then fail: look at the metric first.",
    silentWhen:
      "The policy sets no mode, names a port at which only the sidecar answers, for metrics or probes, or has a selector in the root namespace, where Istio ignores it. A policy that does not apply because an older one does is reported, because it takes effect as soon as the older one is gone; so is one whose labels only gateways have, which read none, because any pod can get them.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  cel: {
    problems: `has(object.spec) && ${isServedInCel} && (object.metadata.namespace != settings.rootNamespace || ${isWideInCel})
? (${accepts("has(object.spec.mtls) && has(object.spec.mtls.mode) ? object.spec.mtls.mode : ''")} ? [[dyn('workloads'), ${who}]] : [])
+ (has(object.spec.portLevelMtls) && !${isWideInCel} ? object.spec.portLevelMtls.filter(port, !(port in ${ofProbesInCel}) && ${accepts("has(object.spec.portLevelMtls[port].mode) ? object.spec.portLevelMtls[port].mode : ''")}).map(port, [dyn(port), ${who}]) : [])
: []`,
  },

  *check(policy, { settings }) {
    const isRoot = policy.metadata.namespace === settings.rootNamespace;
    // Istio ignores such policies, so they accept nothing.
    if (!isServed(policy, settings) || (isRoot && !isWide(policy))) return;
    const who = whoOf(policy, isRoot);
    const { mtls, portLevelMtls } = policy.spec;
    // A mesh-wide policy inherits from none.
    for (const problem of accepting(declared(mtls), ["spec", "mtls", "mode"], `Workloads ${who} accept`))
      yield isRoot ? { ...problem, fix: `Set the mode to STRICT. ${forCallers}` } : problem;
    // Without a selector they have no effect, and the API server refuses them.
    for (const [port, ofPort] of isWide(policy) ? [] : Object.entries(portLevelMtls)) {
      if (ofProbes.has(port)) continue;
      yield* accepting(
        declared(ofPort),
        ["spec", "portLevelMtls", port, "mode"],
        `Port ${port} of workloads ${who} accepts`,
      );
    }
  },
});

function* accepting(mode: DeclaredMode, at: Problem["at"], whoAccepts: string): Iterable<Problem> {
  // PERMISSIVE and DISABLE are the same problem: a change from one to the other accepts no additional callers.
  if (mode === "PERMISSIVE" || mode === "DISABLE")
    yield {
      at,
      topic: "plaintext",
      message: `${whoAccepts} plaintext: the mode is ${mode}`,
      key: `${whoAccepts} plaintext`,
    };
}

function whoOf({ metadata, spec }: PeerAuthentication, isRoot: boolean): string {
  if (isRoot) return "of every namespace that has no policy of its own";
  const labels = formatLabels(spec.selector?.matchLabels ?? {});
  const where = `namespace ${JSON.stringify(metadata.namespace)}`;
  return labels === "" ? `of ${where}` : `labelled ${labels} in ${where}`;
}
