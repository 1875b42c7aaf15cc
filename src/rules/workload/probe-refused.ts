import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { PodProbe } from "../../kube/workload.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import {
  asAnnotations,
  injectorValuesFor,
  mayKeepProbes,
  rewriteProbes,
  rewritesProbes,
} from "../../mesh/membership/injector-values.ts";
import { isNeverRedirected } from "../../mesh/membership/interception.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { isOwned, isProxy, type Workload } from "../../mesh/membership/workloads.ts";
import { mtls } from "../../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode } from "../../mesh/mtls/peer-authentications.ts";
import { mtlsOfWorkload } from "../../mesh/mtls/workload-mtls.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { boundPorts, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import { index, type MeshView, relation, setting } from "../../view/view.ts";

/**
 * A workload with probes that the agent of its sidecar does not take over, and its Namespace. Few workloads have such probes, so that a
 * policy for the whole mesh leads to few.
 */
const namespaceOfKeptProbes = relation(
  "namespaceOfKeptProbes",
  index("Workload", ({ metadata, pod }, settings) => (mayKeepProbes(pod, settings) ? [metadata.namespace] : []), [
    "injection",
  ]),
  namespaceByName,
);

const reads = [namespaceOfKeptProbes, mtls, sidecarsOfPassing, setting("injection")] as const;
type View = MeshView<(typeof reads)[number]>;

export const workloadProbeRefused = defineRule({
  id: "workload-probe-refused",
  subject: "Workload",
  reads,
  worksWithout: ["Sidecar"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls"],
  summary:
    "The kubelet sends a probe, or a postStart or preStop hook, to a container behind a sidecar that requires mTLS, and it is not rewritten.",
  why: "The kubelet has no certificate of the mesh. So the injector turns probes with httpGet or grpc, and hooks with httpGet, into requests to the agent of the sidecar, at a port that is not captured (Istio pkg/kube/inject/app_probe.go ShouldRewriteAppHTTPProbers, convertProbe). Without that, the request reaches the sidecar itself, which has no filter chain for plaintext if the mode is STRICT (pilot/pkg/security/authn/policy_applier.go) and closes the connection. The pods never become ready, or are restarted again and again, which a postStart hook that fails does too; what a preStop hook is for is not done.",
  fix: `Remove the annotation \`${rewriteProbes}\`, set \`sidecarInjectorWebhook.rewriteAppHTTPProbe\` to true in the values of the injector, or set mode PERMISSIVE for its port with \`portLevelMtls\`.`,
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar"],
    seen: "Events of the pods say `Readiness probe failed: ... connection reset by peer` or `EOF`, or `FailedPostStartHook` or `FailedPreStopHook`, and a rollout does not come to an end.",
    wayOut: "`kubectl rollout undo` the workload, or set the previous mode of mTLS.",
    silentWhen:
      "The probe or hook runs a command, opens a connection only (tcpSocket), or asks a host of its own; its port is excluded from capture; pods are ambient, because ztunnel lets the kubelet's probes pass; the values of the injector say nothing of `sidecarInjectorWebhook`; or a policy refuses it though its mode is PERMISSIVE.",
    page: "https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/",
  },

  *check(workload, mesh) {
    const [namespace] = mesh.related(namespaceOfKeptProbes, workload);
    if (namespace === undefined || isTerminating(namespace)) return;
    if (isProxy(workload) || isOwned(workload)) return;
    const because = reasonOf(workload, namespace, mesh);
    if (because === undefined) return;
    const ports = new Set<number>();
    for (const { probe, by } of refusedProbes(workload, namespace, mesh)) {
      if (ports.has(probe.port)) continue;
      ports.add(probe.port);
      yield problemOf(workload, probe, { because, by });
    }
  },
});

/** Why the agent does not take over the probes of a workload; undefined: it does. */
function reasonOf({ pod }: Workload, namespace: Namespace, { settings }: View): string | undefined {
  if (rewritesProbes(pod) === false)
    return `annotation ${rewriteProbes} ${JSON.stringify(pod.annotations[rewriteProbes])}`;
  const values = injectorValuesFor(pod, namespace, settings);
  return values?.rewritesProbes === false
    ? "sidecarInjectorWebhook.rewriteAppHTTPProbe is not true in the values of the injector"
    : undefined;
}

interface Refused {
  readonly probe: PodProbe;
  /** The policy that requires mTLS. */
  readonly by: EffectiveMode["by"];
}

function refusedProbes(workload: Workload, namespace: Namespace, mesh: View): readonly Refused[] {
  const { settings } = mesh;
  if (captureOf(workload, namespace, settings) !== "sidecar") return [];
  const injected = asInjected(workload, namespace, mesh);
  const bound = boundPorts(workload, mesh);
  const modes = mtlsOfWorkload(injected, namespace, mesh.get(mtls, namespace), { settings, bound });
  return workload.pod.probes.flatMap((probe) => {
    const mode = isNeverRedirected(injected.pod, probe.port) ? undefined : modes.at(probe.port).mode;
    return mode?.mode === "STRICT" ? [{ probe, by: mode.by }] : [];
  });
}

/** With the ports that the values of the injector exclude from what the sidecar captures. */
function asInjected(workload: Workload, namespace: Namespace, { settings }: View): Workload {
  const { pod } = workload;
  const values = injectorValuesFor(pod, namespace, settings);
  return values === undefined
    ? workload
    : { ...workload, pod: { ...pod, annotations: { ...asAnnotations(values), ...pod.annotations } } };
}

const kinds: Readonly<Record<PodProbe["kind"], string>> = {
  readinessProbe: "readiness probe",
  startupProbe: "startup probe",
  livenessProbe: "liveness probe",
  postStart: "postStart hook",
  preStop: "preStop hook",
};

function problemOf(
  workload: Workload,
  { at, container, kind, port }: PodProbe,
  { because, by }: { readonly because: string; readonly by: EffectiveMode["by"] },
): Problem {
  const policy = by === undefined ? "" : ` of ${idOf(by)}`;
  return {
    at: [...workload.podAt, ...at],
    message: `The ${kinds[kind]} of container "${container}" in ${idOf(workload)} never succeeds: it reaches port ${port} in plaintext, which mode STRICT${policy} refuses, and it is not rewritten: ${because}`,
    key: `port ${port}`,
    ...(by === undefined ? {} : { related: [by] }),
  };
}
