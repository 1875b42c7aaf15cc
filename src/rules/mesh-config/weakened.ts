import { defineRule, type Problem } from "../../engine/rule.ts";
import type { MeshConfigFields } from "../../kube/mesh-config.ts";
import type { ObjectOf } from "../../kube/object.ts";
import {
  believedCertificates,
  believesProxyProtocol,
  trustedProxies,
} from "../../mesh/membership/forwarded-headers.ts";
import { movedSteps, readsConfigSteps } from "../../mesh/membership/mesh-config-steps.ts";
import { newAuthorities, newTrustDomains } from "../../mesh/membership/mesh-config-losses.ts";
import { normalizationOf, normalizesLess, ownTrustDomains, trustDomainOf } from "../../mesh/membership/mesh-config.ts";
import { decidesPaths, effectOfVariable } from "../../mesh/membership/proxy-variables.ts";
import { defaultsOf, type TelemetryDefaults } from "../../mesh/telemetry/merged-telemetry.ts";
import { defaultMeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const at = ["data", "mesh"];

interface Found {
  readonly message: string;
  readonly fix: string;
  readonly key?: string;
}

export const meshConfigWeakened = defineRule({
  id: "mesh-config-weakened",
  subject: ["MeshConfig", "Namespace"],
  reads: readsConfigSteps,
  worksWithout: ["MeshConfig", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary:
    "The mesh config weakens the mesh: its identities, its mTLS, its proxies, its access logs or its metrics; or a namespace moves to a revision whose mesh config does.",
  why: "Mesh-wide policies have an effect only in the root namespace (Istio pilot/pkg/model/authentication.go, pilot/pkg/model/authorization.go); without auto mTLS, clients send plaintext unless a DestinationRule sets TLS (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings); with a trust domain alias, identities of another domain are treated as identities of the mesh (pilot/pkg/security/trustdomain/bundle.go), and proxies accept certificates of additional authorities and their trust domains (pilot/pkg/networking/plugin/authn/util.go TrustDomainsForValidation); ztunnel knows its own trust domain alone. The default proxy config applies to every proxy.",
  fix: "Copy the mesh-wide policies into the new root namespace before moving it, give every host a DestinationRule with ISTIO_MUTUAL before disabling auto mTLS, and add an alias only for a domain whose certificate authority is as trustworthy as that of this mesh.",
  incident: {
    symptoms: ["plaintext", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Depending on the field: requests without mTLS, policies in the old root namespace without effect, identities of another domain that policies accept, or neither access logs nor metrics.",
    wayOut:
      "Apply the previous ConfigMap. istiod reads it again without a restart; what proxies get only when they start, such as the default proxy config, needs a restart of the pods that started meanwhile.",
    silentWhen:
      "The field has no effect on protection, the ConfigMap is new, so that no control plane had another mesh config before, or pods choose another revision by their own labels.",
    page: "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/",
  },

  *compare(before, after) {
    const [old, now] = [before.object, after.object];
    if (old.kind === "Namespace" && now.kind === "Namespace")
      yield* followedBy({ object: old, mesh: before.mesh }, { object: now, mesh: after.mesh });
    if (old.kind === "MeshConfig" && now.kind === "MeshConfig")
      for (const found of losses(old.mesh, now.mesh)) yield { at, ...found };
  },
});

interface Side {
  readonly object: ObjectOf<"Namespace">;
  readonly mesh: MeshView<(typeof readsConfigSteps)[number]>;
}

/** Between the mesh configs of two control planes, for a namespace that moves from one to the other. */
function* followedBy(before: Side, after: Side): Iterable<Problem> {
  for (const { revision, was, is } of movedSteps(before, after))
    for (const { message, key = message, fix } of losses(was.mesh, is.mesh))
      yield {
        at: [],
        fix: `Change ConfigMap istio-system/${is.metadata.name} before the namespace moves. ${fix}`,
        message: `The namespace moves to revision ${JSON.stringify(revision)}, whose mesh config protects less: ${message}`,
        key: `${revision}: ${key}`,
        related: [is],
      };
}

function* losses(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  for (const found of [rootNamespaceMoved, identities, mtls, traffic, telemetry, controlPlane]) yield* found(old, now);
  for (const found of [replacedParts, variables, runtimeFlags, trust, capture, forwardedHeaders])
    yield* found(old.defaultConfig, now.defaultConfig);
}

function* rootNamespaceMoved(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  const { rootNamespace: otherwise } = defaultMeshSettings;
  const [from, to] = [old.rootNamespace || otherwise, now.rootNamespace || otherwise];
  if (from !== to)
    yield {
      message: `The root namespace moves from ${from} to ${to}: mesh-wide policies in ${from} no longer have an effect`,
      fix: `Copy the mesh-wide policies from namespace ${from} to ${to} before moving the root namespace.`,
    };
}

function* identities(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  const [from, to] = [trustDomainOf(old), trustDomainOf(now)];
  if (from !== to && !ownTrustDomains(now).has(from))
    yield {
      message: `The trust domain changes from ${from} to ${to}, and ${from} is not an alias: workloads refuse certificates that were issued before`,
      fix: `Add ${JSON.stringify(from)} to trustDomainAliases until every workload has a new certificate and no policy names the old trust domain.`,
    };
  for (const [domain, by] of newTrustDomains(old, now))
    yield by === "alias"
      ? {
          message: `Identities of trust domain ${JSON.stringify(domain)} are treated as identities of the mesh`,
          fix: "Add an alias only for a trust domain whose certificate authority is as trustworthy as that of this mesh.",
        }
      : {
          message: `Proxies accept certificates of trust domain ${JSON.stringify(domain)}`,
          fix: "Accept a trust domain only if its certificate authority is as trustworthy as that of this mesh.",
        };
  for (const authority of newAuthorities(old, now))
    yield {
      message: `Proxies accept certificates of ${authority}`,
      fix: "Add a certificate authority only if it is as trustworthy as that of this mesh.",
    };
}

function* mtls(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  if ((old.enableAutoMtls ?? true) && now.enableAutoMtls === false)
    yield {
      message: "Auto mTLS is disabled: clients send plaintext unless a DestinationRule sets TLS",
      fix: "Keep auto mTLS, or give every host a DestinationRule with ISTIO_MUTUAL before disabling it.",
    };
  if (old.meshMTLS?.minProtocolVersion === "TLSV1_3" && now.meshMTLS?.minProtocolVersion !== "TLSV1_3")
    yield { message: "mTLS accepts TLS 1.2", fix: "Keep meshMTLS.minProtocolVersion at TLSV1_3." };
}

function* traffic(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  if (old.outboundTrafficPolicy?.mode === "REGISTRY_ONLY" && now.outboundTrafficPolicy?.mode !== "REGISTRY_ONLY")
    yield {
      message: "Sidecars no longer refuse requests to hosts that the mesh does not know",
      fix: "Keep outboundTrafficPolicy.mode at REGISTRY_ONLY, and add a ServiceEntry for each external host.",
    };
  if (normalizesLess(old, now))
    yield {
      message: `Proxies normalize paths less (${normalizationOf(now)} instead of ${normalizationOf(old)}), so that requests can evade paths in AuthorizationPolicies`,
      fix: isSameSetting(old, now) ? "Keep connectionSettings of defaultConfig." : "Keep pathNormalization.",
    };
}

const isSameSetting = (old: MeshConfigFields, now: MeshConfigFields): boolean =>
  (old.pathNormalization?.normalization ?? "") === (now.pathNormalization?.normalization ?? "");

/** What nobody sees any more. A Telemetry that turns it off is another problem. */
function* telemetry(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  const [was, is] = [defaultsOf(old), defaultsOf(now)];
  const logs = (defaults: TelemetryDefaults): boolean => defaults.hasLogFile || defaults.logs.length > 0;
  if (logs(was) && !logs(is))
    yield {
      message: "Proxies no longer write access logs, unless a Telemetry enables them",
      fix: "Keep accessLogFile, or name a provider in defaultProviders.accessLogging.",
    };
  if (was.metrics.length > 0 && is.metrics.length === 0)
    yield {
      message: "Proxies no longer count requests, unless a Telemetry enables metrics",
      fix: "Keep defaultProviders.metrics, which Istio's charts set to prometheus.",
    };
}

function* controlPlane(old: MeshConfigFields, now: MeshConfigFields): Iterable<Found> {
  const address = now.ca?.address ?? "";
  if (address !== "" && address !== old.ca?.address)
    yield {
      message: `Certificates of workloads are issued by ${JSON.stringify(address)}`,
      key: "certificate authority",
      fix: "Name only a certificate authority that is under the control of those who run the mesh.",
    };
  const known = new Set(old.configSources.map((source) => source.address));
  for (const source of new Set(now.configSources.map((one) => one.address ?? "")))
    if (!known.has(source))
      yield {
        message: `istiod reads configuration from ${JSON.stringify(source)}, which Meshward does not check`,
        fix: "Keep the configuration of the mesh in the Kubernetes API only.",
      };
}

type ProxyFields = NonNullable<MeshConfigFields["defaultConfig"]>;

/** Fields of the default proxy config that change what every proxy runs or whom it obeys. */
const replacing = [
  ["customConfigFile", "a bootstrap configuration"],
  ["proxyBootstrapTemplatePath", "a bootstrap template"],
  ["discoveryAddress", "a control plane"],
  ["binaryPath", "a binary"],
] as const satisfies readonly (readonly [keyof ProxyFields, string])[];

function* replacedParts(old: ProxyFields | undefined, now: ProxyFields | undefined): Iterable<Found> {
  for (const [field, what] of replacing)
    if (now?.[field] !== undefined && now[field] !== old?.[field] && !isIstiod(now[field]))
      yield {
        message: `All proxies use ${what} of their own: defaultConfig.${field} ${JSON.stringify(now[field])}`,
        key: field,
        fix: `Remove defaultConfig.${field}, unless the file or address is under the control of those who run the mesh.`,
      };
}

function* variables(old: ProxyFields | undefined, now: ProxyFields | undefined): Iterable<Found> {
  for (const [variable, value] of Object.entries(now?.proxyMetadata ?? {}))
    if (effectOfVariable(variable, value) !== undefined && value !== old?.proxyMetadata[variable])
      yield {
        message: `All proxies use variable ${variable} ${value}, which decides whom they trust, obey or capture`,
        key: variable,
        fix: `Remove ${variable} from defaultConfig.proxyMetadata.`,
      };
}

function* runtimeFlags(old: ProxyFields | undefined, now: ProxyFields | undefined): Iterable<Found> {
  for (const [flag, value] of Object.entries(now?.runtimeValues ?? {}))
    if (decidesPaths(flag) && value !== old?.runtimeValues[flag])
      yield {
        message: `All proxies use runtime flag ${flag} ${value}, with which they can compare other paths than applications read`,
        key: `runtime flag ${flag}`,
        fix: `Remove ${flag} from defaultConfig.runtimeValues.`,
      };
}

function* trust(old: ProxyFields | undefined, now: ProxyFields | undefined): Iterable<Found> {
  const authorities = now?.caCertificatesPem ?? "";
  if (!["", "[]", old?.caCertificatesPem].includes(authorities))
    yield {
      message: "All proxies trust the certificate authorities in defaultConfig.caCertificatesPem",
      fix: "Add a certificate authority only if it is as trustworthy as that of this mesh.",
    };
  if (now?.controlPlaneAuthPolicy === "NONE" && old?.controlPlaneAuthPolicy !== "NONE")
    yield {
      message: "All proxies accept a control plane that does not authenticate itself",
      fix: "Remove defaultConfig.controlPlaneAuthPolicy.",
    };
}

function* capture(old: ProxyFields | undefined, now: ProxyFields | undefined): Iterable<Found> {
  if (now?.interceptionMode === "NONE" && old?.interceptionMode !== "NONE")
    yield {
      message: "New pods are not captured: the interception mode of all sidecars is NONE",
      fix: "Remove defaultConfig.interceptionMode.",
    };
}

function* forwardedHeaders(old: ProxyFields | undefined, now: ProxyFields | undefined): Iterable<Found> {
  if (trustedProxies(now) > trustedProxies(old))
    yield {
      message: "Gateways trust more proxies in front of them, whose X-Forwarded-For then decides for remoteIpBlocks",
      fix: "Set gatewayTopology.numTrustedProxies to the number of proxies that every request passes.",
    };
  if (believesProxyProtocol(now) && !believesProxyProtocol(old))
    yield {
      message:
        "Gateways believe the address with which each connection begins, which then decides for ipBlocks and remoteIpBlocks",
      fix: "Set gatewayTopology.proxyProtocol only if nothing but a load balancer that writes this address reaches the gateways.",
    };
  for (const isGateway of [true, false]) {
    const believed = believedCertificates(now, isGateway);
    if (believed !== undefined && believed.value !== believedCertificates(old, isGateway)?.value)
      yield {
        message: `${isGateway ? "Gateways" : "Sidecars and waypoints"} pass on client certificates that clients write into a header themselves: defaultConfig.${believed.field} ${JSON.stringify(believed.value)}`,
        key: believed.field,
        fix: `Remove defaultConfig.${believed.field}, unless a proxy in front of all of these replaces the header.`,
      };
  }
}

/** The addresses of istiod's Services that Istio's charts set, one for each revision. */
const isIstiod = (address: string): boolean => /^istiod(-[a-z0-9-]+)?\.istio-system\.svc(:\d+)?$/.test(address);
