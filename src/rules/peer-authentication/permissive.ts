import { defineRule, type Problem } from "../../engine/rule.ts";
import type { PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { declared, type DeclaredMode, isWide } from "../../mesh/mtls/peer-authentications.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";

export const peerAuthenticationPermissive = defineRule({
  id: "peer-authentication-permissive",
  subject: "PeerAuthentication",
  reads: [],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A PeerAuthentication lets plaintext in: for a namespace, for workloads or for a port.",
  why: "Who reaches the pod is served without a certificate (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication): nobody knows who calls, traffic can be read on the way, and rules on principals and namespaces do not match. A policy that sets no mode inherits and lets nobody in by itself.",
  fix: "Set the mode to STRICT, or leave it out where the mesh is STRICT; bring callers that cannot do mTLS into the mesh, or write a MeshwardException with an end date.",

  *check(policy, { settings }) {
    const isRoot = policy.metadata.namespace === settings.rootNamespace;
    // Istio reads neither: nothing is let in by them.
    if (!isServed(policy, settings) || (isRoot && !isWide(policy))) return;
    const who = whoOf(policy, isRoot);
    const { mtls, portLevelMtls } = policy.spec;
    yield* accepting(declared(mtls), ["spec", "mtls", "mode"], `Workloads ${who} accept`);
    for (const [port, ofPort] of Object.entries(portLevelMtls))
      yield* accepting(
        declared(ofPort),
        ["spec", "portLevelMtls", port, "mode"],
        `Port ${port} of workloads ${who} accepts`,
      );
  },
});

function* accepting(mode: DeclaredMode, at: Problem["at"], whoAccepts: string): Iterable<Problem> {
  // PERMISSIVE and DISABLE are one mistake: a change from one to the other lets nobody in who was not let in before.
  if (mode === "PERMISSIVE" || mode === "DISABLE")
    yield { at, message: `${whoAccepts} plaintext: mode is ${mode}`, key: `${whoAccepts} plaintext` };
}

function whoOf({ metadata, spec }: PeerAuthentication, isRoot: boolean): string {
  if (isRoot) return "of every namespace that has no policy of its own";
  const labels = formatLabels(spec.selector?.matchLabels ?? {});
  const where = `namespace ${JSON.stringify(metadata.namespace)}`;
  return labels === "" ? `of ${where}` : `labelled ${labels} in ${where}`;
}
