import { defineRule, type Problem } from "../../engine/rule.ts";
import { isTooLong, proxyConfigAnnotation, proxyConfigOf } from "../../kube/proxy-config.ts";
import { idsOf, readWorkload, type UnusualContainer } from "../../kube/workload.ts";
import {
  type Capture,
  captureOf,
  enrollmentOf,
  hasSidecar,
  refusesInjection,
  unknownCapture,
} from "../../mesh/membership/capture.ts";
import { injectedProxy } from "../../mesh/membership/injection-templates.ts";
import { decisiveProxyConfig, effectOfVariable } from "../../mesh/membership/proxy-variables.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { injectSidecar, revisionLabel } from "../../mesh/objects/labels.ts";

const annotationsAt = ["metadata", "annotations"];

/** What is found in the pod (template); `at` is relative to it. */
type Found = Pick<Problem, "at" | "fix"> & { readonly message: string; readonly key: string };

export const workloadProxyReplaced = defineRule({
  id: "workload-proxy-replaced",
  subject: "Workload",
  reads: [namespaceOfWorkload],
  worksWithout: ["Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "A pod template changes its own proxy, or gives a container the means to avoid the proxy.",
  why: "The injector merges a container named istio-proxy of the template into the proxy (Istio pkg/kube/inject/webhook.go reapplyOverwrittenContainers) and uses the annotations of the template in it (manifests/charts/istio-control/istio-discovery/files/injection-template.yaml), so that whoever writes the template decides what enforces mTLS and policies. The templates quote names and values without escaping them, and istiod believes the name of the pod that a proxy tells (pilot/pkg/serviceregistry/kube/controller/pod.go getPodByProxy). What arrives at the interfaces in `istio.io/reroute-virtual-interfaces` is sent on as the pod, by ztunnel too (cni/pkg/nodeagent/net.go getPodLevelTrafficOverrides). Traffic of user or group 1337 is not redirected (tools/istio-iptables/pkg/capture/run.go), and a container with NET_ADMIN, or with a capability as mighty, can remove the redirection. A container that `kubectl debug` adds to a running pod shares its network. In an ambient namespace, a label for injection replaces ztunnel by a sidecar, which sends no request to a waypoint (pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint).",
  fix: "Remove the container, the annotation or the capability from the template. Ask those who run the mesh to change the proxy for all workloads, in the configuration of the injector.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Nothing, until pods are created. `istioctl proxy-status` shows another version or none, or traffic does not pass the proxy.",
    wayOut: "`kubectl rollout undo` the workload.",
    silentWhen:
      "The pods are outside the mesh, they are those of a gateway, or the settings are those that Istio documents for users, such as resources.",
    page: "https://istio.io/latest/docs/reference/config/annotations/",
  },

  *check(workload, mesh) {
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const capture = captureOf(workload, namespace, mesh.settings);
    if (capture === "none") return;
    const { podAt } = workload;
    const isAmbient = namespace !== undefined && enrollmentOf(namespace, mesh.settings) === "ambient";
    const found = [...foundIn(workload, capture), ...(isAmbient ? besideZtunnel(workload, capture) : [])];
    for (const { at, message, ...others } of found)
      yield {
        at: [...podAt, ...at],
        message: `The pod template ${message}`,
        ...others,
        ...(capture === "unknown" ? { onlyWarns: unknownCapture } : {}),
      };
  },
});

function* foundIn(workload: Workload, capture: Capture): Iterable<Found> {
  const { pod } = workload;
  // ztunnel adds no container to a pod, so that those with names of Istio's are others.
  const isOwn = (container: UnusualContainer): boolean => capture === "ambient" || !isOfIstio(container);
  for (const container of pod.unusual.filter(isOwn)) yield* privileges(container);
  if (capture === "ambient") yield* rerouted(pod.annotations);
  // A gateway has no sidecar, also where the namespace is not known; the pod template of a gateway configures its proxy.
  if (capture === "ambient" || injectedProxy(pod) !== "sidecar") return;
  const isInjected = hasSidecar(workload) && !refusesInjection(pod);
  for (const container of pod.unusual) yield* isInjected ? leftInInjected(container) : reserved(container);
  yield* proxyUser(pod);
  yield* annotated(pod.annotations, isInjected);
  yield* configured(pod.annotations);
  yield* labelled(pod.labels);
}

/**
 * Labels that ask the injector for a sidecar, where ztunnel would capture the pods. Of proxies, only ztunnel and gateways send requests to
 * waypoints (Istio pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint).
 */
function* besideZtunnel(workload: Workload, capture: Capture): Iterable<Found> {
  const label = [injectSidecar, revisionLabel].find((name) => workload.pod.labels[name] !== undefined);
  if (capture !== "sidecar" || label === undefined || hasSidecar(workload)) return;
  yield {
    at: ["metadata", "labels", label],
    message: `asks for a sidecar in an ambient namespace: label ${label} ${JSON.stringify(workload.pod.labels[label])}; its requests go past the waypoints of the Services that it calls, and past their policies`,
    key: "sidecar in ambient",
    fix: `Remove the label ${label}, so that ztunnel captures the pods like the others of the namespace.`,
  };
}

/** Auto mTLS uses this label of an endpoint (Istio pilot/pkg/model/service.go GetTLSModeFromEndpointLabels). */
const tlsMode = "security.istio.io/tlsMode";

function* labelled(labels: Readonly<Record<string, string>>): Iterable<Found> {
  const mode = labels[tlsMode] ?? "istio";
  if (mode !== "istio")
    yield {
      at: ["metadata", "labels", tlsMode],
      message: `tells clients to send plaintext: label ${tlsMode} ${JSON.stringify(mode)}`,
      key: tlsMode,
      fix: `Remove the label ${tlsMode}; the injector sets it.`,
    };
}

const isOfIstio = ({ name, at }: UnusualContainer): boolean =>
  /^istio-(proxy|init|validation)$/.test(name) && !at.includes("ephemeralContainers");

function* privileges({ at, securityContext, ...container }: UnusualContainer): Iterable<Found> {
  const powers = (securityContext?.capabilities?.add ?? []).filter((name) =>
    /^(CAP_)?(NET_ADMIN|SYS_ADMIN|SYS_MODULE|ALL)$/i.test(name),
  );
  const name = JSON.stringify(container.name);
  if (securityContext?.privileged === true)
    yield {
      at: [...at, "securityContext", "privileged"],
      message: `has a privileged container ${name}, which can remove the redirection to the proxy`,
      key: `privileged ${name}`,
      fix: "Run the container without `privileged`. Pod Security Admission can enforce that.",
    };
  else if (powers.length > 0)
    yield {
      at: [...at, "securityContext", "capabilities", "add"],
      message: `has a container ${name} with capability ${powers[0]}, which can remove the redirection to the proxy`,
      key: `capability ${name}`,
      fix: "Remove the capability. Pod Security Admission can enforce that.",
    };
}

/** The user and the group of the proxy, whose traffic is not redirected. */
const proxyId = 1337;

function* proxyUser({ unusual, runAs }: Workload["pod"]): Iterable<Found> {
  const fix = "Run the containers as another user and group.";
  if (runAs.includes(proxyId))
    yield {
      at: ["spec", "securityContext"],
      message: "runs as the user or group 1337, whose traffic avoids the proxy",
      key: "proxy user",
      fix,
    };
  for (const container of unusual)
    if (!isOfIstio(container) && idsOf(container.securityContext).includes(proxyId))
      yield {
        at: [...container.at, "securityContext"],
        message: `runs container ${JSON.stringify(container.name)} as the user or group 1337, whose traffic avoids the proxy`,
        key: `proxy user ${container.name}`,
        fix,
      };
}

/** Resources, ports and probes of the proxy may be set in the template; Istio documents that. */
function* reserved(container: UnusualContainer): Iterable<Found> {
  if (!isOfIstio(container)) return;
  const { image = "", args, securityContext } = container;
  if (image !== "" && image !== "auto") yield replaced(container, "image", `image ${JSON.stringify(image)}`);
  if (container.command) yield replaced(container, "command", "a command");
  if (args) yield replaced(container, "args", "arguments");
  if (securityContext !== undefined) yield replaced(container, "securityContext", "a security context");
  yield* variables(container);
  yield* mountedOver(container, ownFolders);
}

function* mountedOver(container: UnusualContainer, folders: readonly string[]): Iterable<Found> {
  const over = container.volumeMounts.find(({ mountPath = "" }) => mountPath !== "" && isOver(mountPath, folders));
  if (over !== undefined) yield replaced(container, "volumeMounts", `a volume at ${JSON.stringify(over.mountPath)}`);
}

function* variables(container: UnusualContainer): Iterable<Found> {
  const variable = container.env.find(({ name }) => effectOfVariable(name) !== undefined)?.name;
  if (variable !== undefined) yield replaced(container, "env", `variable ${variable}`);
  // Of those of the proxy, the template sets some only, so that the others can come from there.
  if (container.envFrom) yield replaced(container, "envFrom", variablesFrom);
}
const variablesFrom = "variables of a ConfigMap or a Secret";

/**
 * The API server asks after the injector has added its containers to a Pod. It notes what containers with their names had set
 * in an annotation, but not if the Pod claimed to be injected already (Istio pkg/kube/inject/webhook.go
 * reapplyOverwrittenContainers). Then what Istio's template does not set is left of them: a command, other variables and mounts at other paths.
 */
function* leftInInjected(container: UnusualContainer): Iterable<Found> {
  if (!isOfIstio(container)) return;
  const variable = container.env.find(({ name }) => name === "ISTIO_BOOTSTRAP")?.name;
  if (container.command) yield replaced(container, "command", "a command");
  if (variable !== undefined) yield replaced(container, "env", `variable ${variable}`);
  if (container.envFrom) yield replaced(container, "envFrom", variablesFrom);
  yield* mountedOver(container, programFolders);
}

const replaced = ({ at, name }: UnusualContainer, field: string, what: string): Found => ({
  at: [...at, field],
  message: `replaces a part of ${name} with a container of this name: ${what}`,
  key: `${name} ${field}`,
  fix: `Rename the container, or leave only resources and probes in it, with image "auto".`,
});

/**
 * What containers with names of Istio's had set in a Pod before it was injected (Istio pkg/kube/inject/webhook.go
 * applyOverlayYAML and reinsertOverrides). In a template, nobody but its author can have written it.
 */
const overrides = "proxy.istio.io/overrides";

/** Whether containers set only what Istio documents for users, such as resources. A text that cannot be read does not. */
function areOrdinary(json: string): boolean {
  try {
    const pod = readWorkload({ kind: "Pod", spec: JSON.parse(json) as unknown }, []).pod;
    return pod.unusual.every((container) => isOfIstio(container) && [...reserved(container)].length === 0);
  } catch {
    return false;
  }
}

const reroutedInterfaces = "istio.io/reroute-virtual-interfaces";
const reroutes = "treats inbound traffic of network interfaces as outbound";
/** Annotations with which a pod chooses another proxy, or keeps traffic from it. */
const decisiveAnnotations: Readonly<Record<string, string>> = {
  "sidecar.istio.io/proxyImage": "chooses the image of its proxy",
  "sidecar.istio.io/bootstrapOverride": "chooses the bootstrap configuration of its proxy",
  "sidecar.istio.io/discoveryAddress": "chooses the control plane of its proxy",
  "traffic.sidecar.istio.io/excludeInterfaces": "keeps the traffic of network interfaces from its proxy",
  "traffic.sidecar.istio.io/kubevirtInterfaces": reroutes,
  [reroutedInterfaces]: reroutes,
};

/**
 * The only one of them that counts for ztunnel: what arrives at the interfaces goes to its port for outbound traffic, before any other
 * rule, so that it sends it on as the pod (Istio cni/pkg/nodeagent/net.go getPodLevelTrafficOverrides, cni/pkg/iptables/iptables.go
 * AppendInpodRules).
 */
function* rerouted(annotations: Readonly<Record<string, string>>): Iterable<Found> {
  const isAny = annotations[reroutedInterfaces]?.split(",").some((name) => name.trim() !== "");
  if (isAny === true) yield annotatedWith(annotations, reroutedInterfaces, reroutes);
}
/** The injector adds the volume mounts in this annotation, a list in JSON, to the proxy. */
const userMounts = "sidecar.istio.io/userVolumeMount";
/** The programs of the proxy, where Istio's template mounts nothing. */
const programFolders = ["/usr/local/bin", "/usr/lib", "/lib"];
/** The certificates, tokens and configuration of the proxy, too. Users mount certificates of their own elsewhere. */
const ownFolders = [
  "/var/run/secrets/istio",
  "/var/run/secrets/tokens",
  "/var/run/secrets/workload-spiffe-credentials",
  "/var/run/secrets/workload-spiffe-uds",
  "/var/run/secrets/credential-uds",
  "/etc/istio/proxy",
  "/etc/istio/pod",
  "/var/lib/istio",
  ...programFolders,
];
/** The injector adds the volumes in this annotation, a map in JSON. */
const userVolumes = "sidecar.istio.io/userVolume";
const ownVolumes: ReadonlySet<string> = new Set([
  "workload-socket",
  "credential-socket",
  "workload-certs",
  "istio-envoy",
  "istio-data",
  "istio-podinfo",
  "istio-token",
  "istiod-ca-cert",
]);

/** Whether a mount hides files of the proxy, or its name ends the line of the template that it is put into. */
function mountsOver(json: string): boolean {
  return entriesIn(json).some(
    ([name, value]) => name.includes('"') || isOver(textIn(value, "mountPath", "/"), ownFolders),
  );
}

/** Whether a mount hides something in one of the folders. */
function isOver(mountPath: string, folders: readonly string[]): boolean {
  const path = `${mountPath}/`.replaceAll(/\/+/g, "/");
  return folders.some((own) => path.startsWith(`${own}/`) || `${own}/`.startsWith(path));
}

/** Whether a volume replaces one that the template gives to the proxy, which is merged by name. */
const replacesVolume = (json: string): boolean =>
  entriesIn(json).some(([name, value]) => name.includes('"') || ownVolumes.has(textIn(value, "name", name)));

/** The entries of a map or a list in JSON. The injector refuses a text that is not JSON. */
function entriesIn(json: string): readonly (readonly [string, unknown])[] {
  try {
    const parsed: unknown = JSON.parse(json || "{}");
    return typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : [];
  } catch {
    return [];
  }
}

function textIn(value: unknown, field: string, otherwise: string): string {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, field) : undefined;
  return typeof found === "string" ? found : otherwise;
}

/** Variables of the proxy in JSON, where the tracer of the mesh is Datadog (files/injection-template.yaml). */
const tracerVariables = "apm.datadoghq.com/env";
const decidesByTracer = (json: string): boolean =>
  entriesIn(json).some(
    ([name, value]) => /[^\w.-]/.test(name) || /["\n]/.test(String(value)) || effectOfVariable(name) !== undefined,
  );
const templates = "inject.istio.io/templates";
const knownTemplates: ReadonlySet<string> = new Set(["", "sidecar", "gateway"]);
const hasOwnTemplates = (names: string): boolean => names.split(",").some((name) => !knownTemplates.has(name.trim()));

function* annotated(annotations: Readonly<Record<string, string>>, isInjected: boolean): Iterable<Found> {
  for (const [name, what] of Object.entries(decisiveAnnotations))
    if (annotations[name]) yield annotatedWith(annotations, name, what);
  const noted = annotations[overrides];
  if (noted && !(isInjected && areOrdinary(noted)))
    yield annotatedWith(annotations, overrides, "replaces parts of the injected containers");
  for (const [name, isDecisive, what] of judgedAnnotations)
    if (isDecisive(annotations[name] ?? "")) yield annotatedWith(annotations, name, what);
}

/** Annotations whose value decides whether they change what the proxy runs. */
const judgedAnnotations: readonly (readonly [name: string, isDecisive: (value: string) => boolean, what: string])[] = [
  [userMounts, mountsOver, "mounts a volume over the files of its proxy"],
  [userVolumes, replacesVolume, "replaces a volume of its proxy"],
  [tracerVariables, decidesByTracer, "sets variables that decide what its proxy trusts or runs"],
  [templates, hasOwnTemplates, "is injected with templates of its own"],
];

const annotatedWith = (annotations: Readonly<Record<string, string>>, name: string, what: string): Found => ({
  at: [...annotationsAt, name],
  message: `${what}: annotation ${name} ${JSON.stringify(annotations[name])}`,
  key: name,
  fix: `Remove the annotation ${name}.`,
});

function* configured(annotations: Readonly<Record<string, string>>): Iterable<Found> {
  for (const { field, effect } of decisiveProxyConfig(proxyConfigOf(annotations)))
    yield {
      at: [...annotationsAt, proxyConfigAnnotation],
      message: `${effect}: ${field} in annotation ${proxyConfigAnnotation}`,
      key: `${proxyConfigAnnotation} ${field}`,
      fix: `Remove ${field} from the annotation.`,
    };
  if (isTooLong(annotations))
    yield {
      at: [...annotationsAt, proxyConfigAnnotation],
      message: `has a proxy config that is too long to read: annotation ${proxyConfigAnnotation}`,
      key: proxyConfigAnnotation,
      fix: `Keep only the fields in ${proxyConfigAnnotation} that differ from the mesh config.`,
    };
}
