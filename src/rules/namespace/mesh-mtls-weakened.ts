import { defineRule, type Problem } from "../../engine/rule.ts";
import {
  acceptsPlaintext,
  meshWideMtls,
  type PeerAuthentication,
  peerAuthenticationLevel,
  type Plane,
  planes,
} from "../../mesh/mtls/effective-mtls.ts";
import { keyOf } from "../../kube/identity.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import type { EffectiveMode } from "../../mesh/mtls/peer-authentications.ts";
import { plaintextCause } from "../../mesh/mtls/plaintext.ts";

export const namespaceMeshMtlsWeakened = defineRule({
  id: "namespace-mesh-mtls-weakened",
  subject: "Namespace",
  reads: [peerAuthenticationLevel],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "The mesh-wide mTLS mode of the root namespace is no longer STRICT, or is DISABLE.",
  why: "Namespaces without a PeerAuthentication of their own inherit the mode of the root namespace (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication; for ambient pods pilot/pkg/serviceregistry/ambient/workloads.go fetchPeerAuthentications): all of them accept callers without a certificate after the change. With DISABLE, clients no longer use mTLS for them at all (pilot/pkg/model/push_context.go BestEffortInferServiceMTLSMode), and policies that name callers match none. For protected namespaces, namespace-mtls-weakened denies it.",
  fix: "Keep a PeerAuthentication with mode STRICT and without a selector in the root namespace.",
  incident: {
    symptoms: ["plaintext"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Namespaces without a PeerAuthentication of their own accept callers without a certificate.",
    wayOut:
      "Apply the PeerAuthentication with mode STRICT in the root namespace again. Callers in plaintext that appeared meanwhile fail then: the metric above shows them.",
    silentWhen: "Another mesh-wide policy still requires mTLS, or PERMISSIVE was in effect before and still is.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  /** mesh-config-weakened reports another root namespace. */
  *compare(before, after) {
    const { rootNamespace } = after.mesh.settings;
    const isRoot = after.object.metadata.name === rootNamespace && before.mesh.settings.rootNamespace === rootNamespace;
    if (!isRoot || isTerminating(after.object)) return;
    const [old, now] = [
      before.mesh.get(peerAuthenticationLevel, before.object),
      after.mesh.get(peerAuthenticationLevel, after.object),
    ];
    if (old === now) return;
    const [was, is] = [meshWideMtls(old), meshWideMtls(now)];
    const weakened = planes.filter((plane) => !acceptsPlaintext(was(plane)) && acceptsPlaintext(is(plane)));
    const [plane] = weakened;
    if (plane === undefined) {
      if (was("sidecar").mode !== "DISABLE" && is("sidecar").mode === "DISABLE") yield switchedOff(is("sidecar"));
      return;
    }
    const { by } = is(plane);
    yield {
      at: [],
      topic: "plaintext",
      message: `The mesh-wide mTLS mode is no longer STRICT${weakened.length > 1 ? "" : ` ${places[plane]}`}: ${plaintextCause(is(plane), undefined)}; namespaces without a PeerAuthentication of their own accept plaintext`,
      key: "mesh-wide plaintext",
      related: policiesOf(was(plane), is(plane)),
      ...(by === undefined ? {} : { evidence: [by] }),
    } satisfies Problem;
  },
});

/** What set the mode before and what sets it now; a policy that the change keeps is named as it is now. */
function policiesOf({ by: before }: EffectiveMode, { by: after }: EffectiveMode): readonly PeerAuthentication[] {
  const isKept = before !== undefined && after !== undefined && keyOf(before) === keyOf(after);
  return [isKept ? undefined : before, after].filter((policy) => policy !== undefined);
}

/** At ztunnel this mode is PERMISSIVE. */
const switchedOff = (mode: EffectiveMode): Problem => ({
  at: [],
  topic: "plaintext",
  message: `The mesh-wide mTLS mode is DISABLE: ${plaintextCause(mode, undefined)}; clients send plaintext to sidecars of namespaces without a PeerAuthentication of their own, which then know no caller`,
  key: "mesh-wide mTLS off",
  fix: "Use mode PERMISSIVE in the root namespace, and DISABLE only for the workloads or ports that need it.",
  ...(mode.by === undefined ? {} : { related: [mode.by], evidence: [mode.by] }),
});

const places: Readonly<Record<Plane, string>> = { sidecar: "behind sidecars", ambient: "in ambient mode" };
