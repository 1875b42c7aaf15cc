import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Finding } from "../../src/engine/finding.ts";
import { rules } from "../../src/rules/index.ts";
import { findingsOfFixture } from "./judge-fixture.ts";

// A rule that finds problems of different kinds gives each kind a fix of its own. Every finding of its fixtures has
// exactly one row here, and every row has a finding; `$1` is a group of the message.

const forClients =
  "For clients that cannot use mTLS (probes, scrapers), use a PeerAuthentication for the port, or write a MeshwardException with an end date.";
const forOthers =
  "For workloads that must stay outside (agents in the host network, Jobs), write a MeshwardException with an end date.";
const forCallers = "Add callers that cannot use mTLS to the mesh, or write a MeshwardException with an end date.";
const toSidecars =
  "To migrate from ambient to sidecars, keep `istio.io/dataplane-mode: ambient` next to the label that injects sidecars, restart the workloads, and remove it when every pod has a sidecar.";
const exemptPort =
  "accept plaintext at this port only: use a PeerAuthentication with a selector and `portLevelMtls` PERMISSIVE.";

const fixes: Readonly<Record<string, readonly (readonly [message: RegExp, fix: string])[]>> = {
  "virtual-service-host-not-found": [
    [/^Without hosts, /, "Write the hosts again, or name it as the `delegate` of a route with hosts."],
    [/^"reveiws\./, 'Did you mean "reviews.shop.svc.cluster.local"?'],
    [/^"reviews\./, 'Write the host of the Service that exists. Did you mean "reviews.shop.svc.cluster.local"?'],
    [
      / no longer use the VirtualService$|^"basket/,
      "Write the host of the Service as its clients call it, with its namespace if it is another one: `NAME.NAMESPACE.svc.cluster.local`.",
    ],
  ],
  "kubernetes-service-without-endpoints": [
    [
      / which no container of .* declares$/,
      "Write the port at which the application listens into `targetPort`, and into the `ports` of its container.",
    ],
    [
      /^The Service has no selector any more/,
      "Write the selector again. For a host outside the mesh, use a ServiceEntry.",
    ],
    [
      /^No workload in /,
      "Correct the labels of the selector: they are those of the pod template, not of the Deployment.",
    ],
    [
      /^Port \d+ has no endpoints: /,
      "Write the number of the port, or a name that a container declares in `ports`. To rename a port, change the workload and the Service together.",
    ],
    [
      /^Only WorkloadEntries whose address is no IP address/,
      "Write the IP address of the machine into the WorkloadEntry, or define its host with a ServiceEntry of resolution DNS that selects it.",
    ],
  ],
  "backend-tls-policy-without-effect": [
    [
      /^Clients do not use the TLS of this policy .* without tls$/,
      "Write `tls` into the entry of `portLevelSettings`, or name the port in `sectionName` of the policy.",
    ],
    [/^Clients use the TLS of DestinationRule /, "Remove `tls` from the DestinationRule, or delete the policy."],
    [
      /^(?!Clients )/,
      "Correct the name, the kind or the section of the target, or delete the policy that is not needed. Keep the certificate of the authority in a ConfigMap, under the key `ca.crt`.",
    ],
  ],
  "authorization-policy-shuts-gateway": [
    [
      / because its servers ask for no client certificate$/,
      "Name the callers by something that they have here: remoteIpBlocks, or requestPrincipals of a token. Or ask for client certificates, with tls mode MUTUAL or ISTIO_MUTUAL.",
    ],
    [
      / because its servers pass connections on and ask for no client certificate$/,
      "Write the policy for the workloads behind the gateway, which end the TLS of the callers and know them, or name the callers by ipBlocks.",
    ],
    [
      / no ALLOW policy there is for these hosts$/,
      "Use action DENY with notPaths, notMethods or other negative values for this host, or add rules for the other hosts of the gateway.",
    ],
  ],
  "service-entry-without-endpoints": [
    [
      /: only WorkloadEntries whose address is no IP address/,
      "Write the IP addresses of the machines into the WorkloadEntries, or use resolution DNS.",
    ],
    [
      /^Requests of ambient clients to .* fail: without a waypoint, ztunnel asks DNS for the wildcard itself/,
      "Set the label istio.io/use-waypoint of the ServiceEntry or of its namespace to a waypoint, which looks up each name.",
    ],
    [
      /^(?!.*(?:: only WorkloadEntries|without a waypoint, ztunnel))/,
      "List the endpoints, correct the labels of workloadSelector, or use resolution DNS or NONE.",
    ],
  ],
  "request-authentication-keys-over-http": [
    [/^Every token of issuer /, "Set `jwksUri` to the place of the keys of the issuer, or put them into `jwks`."],
    [/ over plain HTTP/, "Use `https` in `jwksUri`, or put the keys into `jwks`."],
  ],
  "authorization-policy-never-matches": [
    [
      /^Requests to .* come through waypoint /,
      "Attach a DENY policy with this rule to the Service or to the waypoint with `targetRefs`. This one counts only for connections to the addresses of the pods.",
    ],
    [
      /^(?!Requests to )/,
      "Write the value as requests have it: `GET`, `/orders/*`, `shop.example.com`. A `*` is allowed at one end; in a path, `{*}` stands for one segment and `{**}` for any number at the end.",
    ],
  ],
  "envoy-filter-patch-ignored": [
    [/its proxyVersion has more than 1024 bytes/, "Write a shorter regular expression."],
    [
      /no proxy has the context WAYPOINT$/,
      "Choose the context SIDECAR_INBOUND, which waypoints have, and target the waypoint with targetRefs.",
    ],
    [/applies only to the filter that (\S+) names$/, "Name the filter with $1."],
    [
      / to (?:LISTENER|FILTER_CHAIN|CLUSTER)$/,
      "Choose one of the operations that istiod applies there: ADD, MERGE, MERGE_AND_REPLACE_LIST, REMOVE.",
    ],
    [
      / to ROUTE_CONFIGURATION$/,
      "Choose one of the operations that istiod applies there: MERGE, MERGE_AND_REPLACE_LIST.",
    ],
    [
      / to HTTP_ROUTE$/,
      "Choose one of the operations that istiod applies there: ADD, INSERT_FIRST, INSERT_BEFORE, INSERT_AFTER, MERGE, MERGE_AND_REPLACE_LIST, REMOVE.",
    ],
    [/ to EXTENSION_CONFIG$/, "Choose one of the operations that istiod applies there: ADD."],
    [
      / to HTTP_FILTER$/,
      "Choose one of the operations that istiod applies there: ADD, INSERT_FIRST, INSERT_BEFORE, INSERT_AFTER, MERGE, REPLACE, REMOVE.",
    ],
  ],
  "object-istio-key-misspelt": [
    [/: did you mean | from (?:annotations|labels) only$/, "Write the name that is read."],
    [/ is "true", and not /, 'Write "true", in lower case.'],
  ],
  "object-malformed": [
    [/ as YAML, not /, "Correct the YAML inside of the field."],
    [/ named after a port, /, "Write the port as a number, such as 8080."],
    [/ integer, not "(\d+)"$/, "Write $1 without quotes."],
    [/ string, not (\d)$/, 'Put it in quotes as it is written, such as "$1".'],
    [/ (?:a list|2147483648)$/, "Change the field to the type that the schema of the kind requires."],
  ],
  "kubernetes-gateway-listener-not-used": [
    [
      / of a waypoint, which its Service does not have without a listener$/,
      "Write one listener with port 15008 and protocol HBONE, as `istioctl waypoint generate` does.",
    ],
    [
      /^No proxy serves this Gateway.*: istiod reads only addresses of type Hostname/,
      "Write the name of the Service of the proxies as an address of type Hostname, or remove spec.addresses, so that istiod runs the proxies.",
    ],
    [
      /^No proxy serves this Gateway.*: no Service of namespace \S+ has the name /,
      "Correct the name, or create the Service of the proxies in the namespace of the Gateway. Without spec.addresses, istiod runs the proxies.",
    ],
    [
      / cannot have/,
      "Allow kinds of routes that the protocol can have, or change the protocol: HTTP and HTTPS have HTTPRoutes and GRPCRoutes, TLS has TLSRoutes, TCP has TCPRoutes.",
    ],
    [
      / Istio does not support protocol "\w+" there$/,
      "Write one of the protocols HTTP, HTTPS, TLS and TCP, in upper case.",
    ],
    [
      / listener (?:no-tls|https?|db) takes its port and host$/,
      "Use another port: one for TCP or UDP is left to nothing else, and a hostname is on a port once.",
    ],
    [
      / which spec\.addresses names, has no port \d+$/,
      "Use a port of the Service (80, 443), not one of its pods, or add the port to it.",
    ],
    [/ it has no TLS settings$/, "Give the listener `tls` with a Secret in `certificateRefs`."],
    [
      / it names more than (?:two certificates|one CA certificate)$/,
      "Name at most two certificates, and one CA certificate in `spec.tls.frontend`.",
    ],
    [
      / it names no certificate$| its certificate is no Secret$| its CA certificate is neither a ConfigMap nor a Secret$/,
      "Name a Secret in `certificateRefs`, and a ConfigMap or a Secret as the CA certificate.",
    ],
    [
      / no ReferenceGrant in namespace certs lets it use (?:Secret|ConfigMap) \w+$/,
      "Create a ReferenceGrant in that namespace, from kind Gateway and the namespace of the Gateway to it, or copy it to the namespace of the Gateway.",
    ],
  ],
  "namespace-waypoint-left": [
    [
      /ServiceEntry ([^/]+)\/\S+ still go through waypoint .*; (AuthorizationPolicy \1\/\S+) no longer/,
      "Keep $2, or first apply another policy that targets the ServiceEntry and restricts the same callers.",
    ],
    [
      /^(?!.*ServiceEntry ([^/]+)\/.*; AuthorizationPolicy \1\/).*still go through waypoint .*; (AuthorizationPolicy \S+) no longer/,
      "Keep $2, or first apply another policy that targets the waypoint and restricts the same callers.",
    ],
    [
      /instead of (\S+); (AuthorizationPolicy \S+) may allow more callers$/,
      "Restrict the callers in $2 to those that the policies at waypoint $1 allow.",
    ],
    [
      /instead of (\S+); (AuthorizationPolicy \S+) allows everyone$/,
      "Restrict the callers in $2 to those that the policies at waypoint $1 allow.",
    ],
    [
      / go in part through waypoint \S+, the canary of waypoint /,
      "Bind the same policies to the canary waypoint first, or target the Service with them: such policies apply at every waypoint.",
    ],
    [
      /^Requests from ingress gateways .* bypass/,
      'Keep the label `istio.io/ingress-use-waypoint: "true"`, or bind the same policies to the ingress gateways first.',
    ],
    [
      /bypass waypoint \S+: Gateway (\S+) is not ready;/,
      "Wait until Gateway $1 has an address in its status, then change the label. Its conditions say why it has none.",
    ],
    [
      /^Requests to (ServiceEntry|WorkloadEntry) .*: ztunnel does not know .* any more;/,
      "Keep the $1 as long as anybody calls it, or first refuse its address where connections leave the cluster. Nothing is lost if nobody calls it any more.",
    ],
    [
      / bypass waypoint (\S+): Gateway \1 has class "/,
      "Let Gateway $1 keep its class, and keep the GatewayClass, whose controller is `istio.io/mesh-controller`. To move to another waypoint, bind the same policies to it first, then change the label.",
    ],
    [
      /^(?!.* is not ready;)(?!.*: ztunnel does not know )(?!.* waypoint (\S+): Gateway \1 has class ")Requests to .*(?:bypass|instead of) .* no longer applies to (?:them|pods)$/,
      "Keep the label and the waypoint. To move to another waypoint, bind the same policies to it first. To stop using waypoints, first apply policies without targetRefs that ztunnel enforces.",
    ],
    [
      /^Requests to .* may bypass waypoint (\S+): Gateway (?!\1 )\S+ has class .* may no longer apply to (?:them|pods)$/,
      "Keep the label and the waypoint. To move to another waypoint, bind the same policies to it first. To stop using waypoints, first apply policies without targetRefs that ztunnel enforces.",
    ],
  ],
  "kubernetes-service-routes-taken-over": [
    [
      / at waypoint /,
      "Let the owner of the Service write the route in the namespace of the Service, or let a waypoint there serve it.",
    ],
    [
      / that clients of other namespaces send to /,
      "Limit the VirtualService to clients of its own namespace with `exportTo: [.]`, or let the owner of the Service write it in the namespace of the Service.",
    ],
  ],
  "namespace-waypoint-replaced": [
    [/: discoveryAddress in annotation proxy\.istio\.io\/config;/, "Remove discoveryAddress from the annotation."],
    [/: (proxyHeaders\.forwardedClientCert) "\w+" in annotation /, "Remove $1 from the annotation."],
    [/ shares its requests with /, "Remove the label gateway.networking.k8s.io/gateway-name from the pods."],
    [/ shares its service account with (?!Gateway )/, "Give the workload a service account of its own."],
    [/ shares its service account with Gateway /, "Give the Gateway a service account of its own."],
  ],
  "authorization-policy-not-enforced-l7": [
    [
      /^Namespace (\S+) is ambient and has no waypoint: ztunnel drops .* to (\S+)$/,
      `Create a waypoint for namespace $1 and attach this rule to it with targetRefs, and allow the identity of the waypoint (cluster.local/ns/$1/sa/waypoint) to reach $2.`,
    ],
    [
      /^Namespace (\S+) is ambient and has no waypoint: ztunnel drops .* to the workloads of (\S+)$/,
      `Create a waypoint for namespace $1 and attach this rule to it with targetRefs, and allow the identity of the waypoint (cluster.local/ns/$1/sa/waypoint) to reach the workloads of $2.`,
    ],
    [
      /^Namespace (\S+) (?:is|may be) ambient and has no waypoint: (?:at ztunnel the rule|ztunnel ignores)/,
      `Create a waypoint for namespace $1 and attach this rule to it with targetRefs, or use only ports and identities in it.`,
    ],
    [
      /attached to its waypoint (\S+): at/,
      `Attach this rule to waypoint $1 with targetRefs, or use only ports and identities in it.`,
    ],
    [
      /^For .*: at/,
      `Attach this rule to GatewayClass istio-waypoint with targetRefs, or use only ports and identities in it.`,
    ],
    [
      /^Namespace (\S+) is ambient and has no waypoint: .* CUSTOM/,
      `Create a waypoint for namespace $1 and attach the policy to it with targetRefs.`,
    ],
    [/attached to its waypoint (\S+): .* CUSTOM/, `Attach the policy to waypoint $1 with targetRefs.`],
    [/^For .*: .* CUSTOM/, `Attach the policy to GatewayClass istio-waypoint with targetRefs.`],
  ],
  "http-route-rule-unreachable": [
    [
      /^No request |comes first and takes them all$/,
      "Write the paths as prefixes or exact paths instead of regular expressions, give the other rule a narrower match, or remove one of the two. Give each TCPRoute a listener of its own, and each TLSRoute hostnames of its own.",
    ],
    [/which has one rule alone/, "Give the route a listener with a port of its own, or delete one of the two."],
    [
      /^No connection .* is for server name ("\S+") too/,
      "Remove hostname $1 from one of the two: istiod leaves out the later rule with all its hostnames.",
    ],
    [/^No connection .* at Service .*; of several hostnames/, "Write a TLSRoute with one hostname for each of them."],
    [
      /^No connection .* at Service(Entry)? [^;]*$/,
      "Write the backends of both into one rule, or delete one of the two.",
    ],
  ],
  "policy-target-not-found": [
    [/^(\S+ \S+) does not exist/, "Create $1 first, or correct the name of the target."],
    [
      /^A target in namespace "shop" .* the (\S+)'s own/,
      "Create the $1 in namespace shop, or target an object in namespace bank and remove `namespace` from the target.",
    ],
    [
      /^Istio attaches no WasmPlugin/,
      'Target a Service (group ""), a ServiceEntry (networking.istio.io) or a Gateway (gateway.networking.k8s.io). To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.',
    ],
    [
      /^Istio attaches no EnvoyFilter/,
      "Target a Gateway (gateway.networking.k8s.io). To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.",
    ],
    [
      /^A GatewayClass is a valid target only .* the (\S+) has/,
      "To target all waypoints, create the $1 in namespace istio-system. To target one waypoint, use kind Gateway and its name.",
    ],
    [
      /^The only GatewayClass/,
      "Use the name istio-waypoint. To target an ingress gateway, create the EnvoyFilter in its namespace, with kind Gateway and its name.",
    ],
    [
      /uses no waypoint/,
      "Set the label istio.io/use-waypoint on the target or its namespace, to a waypoint for services. For workloads with sidecars, use a selector instead of targetRefs.",
    ],
  ],
  "authorization-policy-target-not-found": [
    [/^(\S+ \S+) does not exist/, "Create $1 first, or correct the name of the target."],
    [
      /^A target in namespace "b"/,
      "Create the policy in namespace b, or target an object in namespace a and remove `namespace` from the target.",
    ],
    [
      /^Istio attaches no policy/,
      'Target a Service (group ""), a ServiceEntry (networking.istio.io) or a Gateway (gateway.networking.k8s.io). To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.',
    ],
    [
      /^A GatewayClass is a valid target only/,
      "To target all waypoints, create the policy in namespace istio-system. To target one waypoint, use kind Gateway and its name.",
    ],
    [
      /^The only GatewayClass/,
      "Use the name istio-waypoint. To target an ingress gateway, create the policy in its namespace, with kind Gateway and its name.",
    ],
    [/is another name for a host/, "Name the Service or the ServiceEntry of the host itself."],
    [
      /uses no waypoint/,
      "Set the label istio.io/use-waypoint on the target or its namespace, to a waypoint for services. For workloads with sidecars, use a selector instead of targetRefs.",
    ],
    [
      /is headless/,
      "Name another Service of these pods, one with a cluster IP, or use a selector with rules that ztunnel or sidecars enforce.",
    ],
  ],
  "destination-rule-plaintext": [
    [
      /because its tls mode is DISABLE/,
      "Remove `tls` from the DestinationRule, so that auto mTLS applies to each workload, or set its mode to ISTIO_MUTUAL. If a port cannot use mTLS, exempt it in a PeerAuthentication of the workload first.",
    ],
    [
      / at port (\d+), because the entry for the port has no tls and replaces/,
      "Set tls with mode ISTIO_MUTUAL in the entry for port $1, or remove tls from the whole DestinationRule.",
    ],
    [
      / at port (\d+), because the entry for the port has no tls and hides that of (BackendTLSPolicy [^:]+)/,
      "Set tls in the entry for port $1: mode ISTIO_MUTUAL for the mesh's own mTLS, or SIMPLE if the application shall end the TLS of $2.",
    ],
    [
      /because the first reference to its certificate is no ConfigMap/,
      "Delete the BackendTLSPolicy, so that auto mTLS applies. If the application ends this TLS, keep the certificate of the authority in a ConfigMap.",
    ],
    [
      /because credentialName has no effect/,
      "Set the tls mode to ISTIO_MUTUAL, which needs no credentialName. If the application terminates this TLS itself, add a workloadSelector.",
    ],
  ],
  "gateway-tls-weak": [
    [/accepts TLS 1\.[01]/, "Set minProtocolVersion to TLSV1_2 or TLSV1_3, or remove it."],
    [
      /mode PASSTHROUGH/,
      "List in `hosts` only the names whose connections should be passed through, instead of every host.",
    ],
    [
      /mode AUTO_PASSTHROUGH/,
      'List in `hosts` only the names whose connections should be passed through, such as "*.local", instead of every host.',
    ],
  ],
  "mesh-config-weakened": [
    [
      /^The namespace moves to revision "(\S+)", .*: Sidecars no longer refuse .*/,
      "Change ConfigMap istio-system/istio-$1 before the namespace moves. Keep outboundTrafficPolicy.mode at REGISTRY_ONLY, and add a ServiceEntry for each external host.",
    ],
    [/^All proxies use runtime flag (\S+) /, "Remove $1 from defaultConfig.runtimeValues."],
    [
      /^Proxies accept certificates of trust domain/,
      "Accept a trust domain only if its certificate authority is as trustworthy as that of this mesh.",
    ],
    [
      /^Proxies accept certificates of (?:the|one more) certificate authority/,
      "Add a certificate authority only if it is as trustworthy as that of this mesh.",
    ],
    [
      /^(?:Gateways|Sidecars and waypoints) pass on client certificates .*: (defaultConfig\.\S+) "/,
      "Remove $1, unless a proxy in front of all of these replaces the header.",
    ],
    [
      /^The root namespace moves from (\S+) to (\S+):/,
      "Copy the mesh-wide policies from namespace $1 to $2 before moving the root namespace.",
    ],
    [
      /^Auto mTLS is disabled/,
      "Keep auto mTLS, or give every host a DestinationRule with ISTIO_MUTUAL before disabling it.",
    ],
    [
      /^Identities of trust domain/,
      "Add an alias only for a trust domain whose certificate authority is as trustworthy as that of this mesh.",
    ],
    [
      /^The trust domain changes from (\S+) to/,
      'Add "$1" to trustDomainAliases until every workload has a new certificate and no policy names the old trust domain.',
    ],
    [/^mTLS accepts TLS 1.2/, "Keep meshMTLS.minProtocolVersion at TLSV1_3."],
    [
      /^Sidecars no longer refuse/,
      "Keep outboundTrafficPolicy.mode at REGISTRY_ONLY, and add a ServiceEntry for each external host.",
    ],
    [/^Proxies normalize paths less \(\w+ instead of \w+\)/, "Keep pathNormalization."],
    [/^Proxies normalize paths less \(.* with /, "Keep connectionSettings of defaultConfig."],
    [
      /^Proxies no longer write access logs/,
      "Keep accessLogFile, or name a provider in defaultProviders.accessLogging.",
    ],
    [/^Proxies no longer count requests/, "Keep defaultProviders.metrics, which Istio's charts set to prometheus."],
    [
      /^All proxies use .* of their own: (\S+) "/,
      "Remove $1, unless the file or address is under the control of those who run the mesh.",
    ],
    [/^New pods are not captured/, "Remove defaultConfig.interceptionMode."],
    [
      /^Certificates of workloads are issued by/,
      "Name only a certificate authority that is under the control of those who run the mesh.",
    ],
    [/^istiod reads configuration from/, "Keep the configuration of the mesh in the Kubernetes API only."],
    [/^All proxies use variable (\S+)/, "Remove $1 from defaultConfig.proxyMetadata."],
    [
      /^All proxies trust the certificate authorities/,
      "Add a certificate authority only if it is as trustworthy as that of this mesh.",
    ],
    [/^All proxies accept a control plane/, "Remove defaultConfig.controlPlaneAuthPolicy."],
    [
      /^Gateways believe the address/,
      "Set gatewayTopology.proxyProtocol only if nothing but a load balancer that writes this address reaches the gateways.",
    ],
    [
      /^Gateways trust more proxies/,
      "Set gatewayTopology.numTrustedProxies to the number of proxies that every request passes.",
    ],
  ],
  "namespace-mesh-settings-weakened": [
    [
      / no longer writes header ("\S+"), so that clients can write it themselves$/,
      "Keep $1 in headersToUpstreamOnAllow of the provider as long as an application or a policy trusts the header.",
    ],
    [/ no longer sees .* of a request$/, "Keep showing it to the provider, unless its decisions do not depend on it."],
    [
      /trust domain "\S+"(?: as identities of the mesh)?$/,
      "Add a trust domain only if its certificate authority is as trustworthy as that of this mesh, and accept it with a MeshwardException.",
    ],
    [
      /accept certificates of (?:the|one more) certificate authority/,
      "Add a certificate authority only if it is as trustworthy as that of this mesh, and accept it with a MeshwardException.",
    ],
    [/interception mode NONE$/, "Remove defaultConfig.interceptionMode from the mesh config."],
    [
      /^Auto mTLS is disabled/,
      "Keep auto mTLS, or give every host a DestinationRule with ISTIO_MUTUAL before disabling it.",
    ],
    [/normalize paths less/, "Keep pathNormalization, or compare no paths in AuthorizationPolicies."],
    [
      /^AuthorizationPolicy .* the callers of trust domain ("\S+") that it names/,
      'Keep $1 in trustDomainAliases, or write "cluster.local" in the policy, which stands for the trust domain of the mesh.',
    ],
    [
      /^In ambient mode, .* the callers of trust domain/,
      "Name the new trust domain in the policy too, before the mesh config changes.",
    ],
    [
      /no longer exists$/,
      "A policy whose provider does not exist denies every request that it asks about. Delete the policy first, or keep the provider.",
    ],
    [
      /instead of "\S+"$/,
      "Check that the other service refuses what the one before refused, and show the change to the owner of the namespace.",
    ],
    [/does not answer$/, "Ask the owner of the namespace, and accept the change with a MeshwardException."],
  ],
  "namespace-dataplane-conflict": [
    [
      /^(\S+) requests sidecars/,
      "Remove $1 to use ambient mode. To use sidecars, restart the workloads, and remove istio.io/dataplane-mode when every pod has a sidecar.",
    ],
    [
      /no effect together with istio-injection/,
      "Remove istio-injection to use this revision, or istio.io/rev to use the default revision.",
    ],
    [
      /^istio\.io\/dataplane-mode has the unknown value/,
      'Set istio.io/dataplane-mode to "ambient" to add pods to the mesh, or to "none" to leave them out.',
    ],
    [
      /^istio-injection has the unknown value/,
      'Set istio-injection to "enabled" to add pods to the mesh, or to "disabled" to leave them out.',
    ],
    [/^(\S+) is an annotation here/, "Remove the annotation $1, and set it as a label instead if it is intended."],
  ],
  "namespace-default-deny-missing": [
    [
      /^There is no default deny, because the discoverySelectors leave out the namespace:/,
      "Let the discoverySelectors in the mesh config select namespace hidden: otherwise no policy in it has an effect.",
    ],
    [
      /^There is no default deny:/,
      "Apply an AuthorizationPolicy without a selector whose rules name the callers that are needed: it denies all others. Where nothing calls yet, one with `spec: {}`, which denies everyone.",
    ],
    [
      /^Workloads in ambient mode have no default deny/,
      "Apply an AuthorizationPolicy without a selector whose rules name the callers that are needed: it denies all others. Where nothing calls yet, one with `spec: {}`, which denies everyone.",
    ],
    [/^The default deny has no effect: (\S+ \S+) allows everyone/, "Delete $1, or restrict the callers in its rules."],
    [
      /^Waypoint ([^\s/]+) has no default deny/,
      "Apply an AuthorizationPolicy without rules whose targetRefs name the Gateway $1 (group gateway.networking.k8s.io, kind Gateway), then ALLOW policies for the requests that are needed.",
    ],
    [
      /^Waypoint (\S+)\/([^\s,]+)(?:, .*,)? has no default deny/,
      "Apply an AuthorizationPolicy without rules whose targetRefs name the Gateway $2 (group gateway.networking.k8s.io, kind Gateway), then ALLOW policies for the requests that are needed. They are in namespace $1; policies for single Services are in this one.",
    ],
  ],
  "namespace-mtls-not-strict": [
    [
      /no PeerAuthentication requires mTLS$/,
      "Apply a PeerAuthentication with mode STRICT, without a selector, in this namespace or in the root namespace, before the workloads.",
    ],
    [
      /, and the discoverySelectors leave out the namespace$/,
      "Apply a PeerAuthentication with mode STRICT, without a selector, in the root namespace. Let the discoverySelectors in the mesh config select namespace hidden: otherwise no policy in it has an effect.",
    ],
    [/: (\S+ \S+) has mode \S+$/, "Set mode STRICT in $1, or write a MeshwardException with an end date."],
    [
      /^Port (\d+) .*: (\S+ \S+) sets mode \S+ at this port$/,
      "Set mode STRICT at port $1 in $2, or write a MeshwardException with an end date.",
    ],
    [
      /: (PeerAuthentication \S+) lists ports, and/,
      "Set spec.mtls.mode of $1 to STRICT, and list the ports that accept plaintext in portLevelMtls: istiod then sends ztunnel all of it.",
    ],
  ],
  "namespace-not-in-mesh": [
    [
      /^The namespace is not/,
      "Label the namespace `istio.io/dataplane-mode: ambient` or `istio-injection: enabled`, or do not protect it.",
    ],
    [
      / is outside the mesh: /,
      "Keep its pods in the mesh, or write a MeshwardException for workload-outside-mesh with an end date.",
    ],
  ],
  "authorization-policy-without-default-deny": [
    [
      /^Namespace (\S+) has no default deny: workloads accept requests /,
      "Let the discoverySelectors in the mesh config select namespace $1: otherwise no policy in it has an effect.",
    ],
    [
      /: (?:future workloads|workloads that this policy does not select) accept requests /,
      "Create the default deny first: an AuthorizationPolicy with `spec: {}` in this namespace, or, where requests arrive already, one without a selector that names their callers. Flux, Argo CD and Helm may apply them in any order.",
    ],
  ],
  "namespace-default-deny-removed": [
    [
      /\(waypoint\) loses its default deny: .*and no policy does any more$/,
      "Keep the policy that denies by default, or create a replacement first. To take the waypoint away, remove the labels that name it and delete its Gateway before its policies.",
    ],
    [
      /AuthorizationPolicy (hidden|istio-system)\/(?:deny-all-unread|mesh-wide-deny) denied by default, and no policy does any more$/,
      "Let the discoverySelectors in the mesh config select namespace $1: otherwise no policy in it has an effect.",
    ],
    [
      /^(?!Deployment payments|Gateway \S+ \(waypoint\))(?!.*(?:deny-all-unread|mesh-wide-deny)).*and no policy does any more$/,
      "Keep the policy that denies by default, or create a replacement first. To decommission workloads, delete them before their policies.",
    ],
    [
      /^Deployment payments\/(?:api|payments-api) |payments\/web-for-all allows everyone$/,
      "Keep the labels by which a policy selects the workload, or create a policy for the new labels first.",
    ],
    [
      /and (AuthorizationPolicy istio-system\/\S+) allows everyone$/,
      "Restrict the callers in the rules of $1, or do not apply it.",
    ],
  ],
  "namespace-enrolled-backs-webhook": [
    [
      /^Service certificates\//,
      `Leave the namespace out of the mesh (\`istio.io/dataplane-mode: none\`), or ${exemptPort}`,
    ],
    [
      /^Service metrics\//,
      `Leave the namespace out of the mesh (\`istio-injection: disabled\`) and restart its workloads, or ${exemptPort}`,
    ],
    [
      /^Service quota\//,
      `Leave the namespace out of the mesh (\`istio-injection: disabled\`) and restart its workloads, or ${exemptPort}`,
    ],
    [
      /^Service both\//,
      `Leave the namespace out of the mesh (\`istio.io/dataplane-mode: none\` and \`istio-injection: disabled\`) and restart its workloads, or ${exemptPort}`,
    ],
    [/^Service quotas\//, `Remove the labels through which the pods of the Service join the mesh, or ${exemptPort}`],
  ],
  "injection-revision-unserved": [
    [
      /neither a control plane nor a tag/,
      "Use the revision or a tag of a control plane that is installed, or install the control plane first.",
    ],
    [
      /none for revision "(\S+)"/,
      "Create the MutatingWebhookConfiguration istio-sidecar-injector-$1 again, or use a revision or a tag that has one.",
    ],
  ],
  "namespace-leaves-mesh": [
    [
      /: no webhook of an injector selects its pods any more; new pods get no sidecar$/,
      "Label the namespace `istio-injection: enabled` first, or keep the webhook of the injector (`sidecarInjectorWebhook.enableNamespacesByDefault`).",
    ],
    [
      /: istio\.io\/dataplane-mode "ambient" is removed; ztunnel stops capturing its pods immediately$/,
      'To stay in the mesh, keep istio.io/dataplane-mode "ambient".',
    ],
    [
      /: istio\.io\/dataplane-mode "ambient" is removed; ztunnel stops capturing pods that were not recreated/,
      `To stay in the mesh, keep istio.io/dataplane-mode "ambient". ${toSidecars}`,
    ],
    [
      /"ambient" is removed, (\S+) ("\S+") is set; ztunnel stops capturing its pods immediately, and they have no sidecar/,
      `To stay in the mesh, keep istio.io/dataplane-mode "ambient" and do not set $1. ${toSidecars}`,
    ],
    [/: istio\.io\/dataplane-mode changes from/, 'To stay in the mesh, keep istio.io/dataplane-mode "ambient".'],
    [
      /: istio-injection changes from/,
      'To stay in the mesh, keep istio-injection "enabled". To migrate from sidecars to ambient, set `istio.io/dataplane-mode: ambient` in the same change.',
    ],
    [
      /: istio-injection "disabled" is set/,
      "To stay in the mesh, do not set istio-injection. To migrate from sidecars to ambient, set `istio.io/dataplane-mode: ambient` in the same change.",
    ],
    [
      /is removed, istio-injection "enabled" is removed/,
      'To stay in the mesh, keep istio.io/dataplane-mode "ambient" and keep istio-injection "enabled". To migrate from sidecars to ambient, set `istio.io/dataplane-mode: ambient` in the same change.',
    ],
    [
      /changes to revision "(\S+)"/,
      'Install a control plane with revision "$1" first, or use the revision or a tag of an existing one.',
    ],
    [
      /loses revision "(\S+)"/,
      'Move the namespace to another revision before the control plane or the tag "$1" is removed.',
    ],
  ],
  "namespace-mtls-weakened": [
    [
      /^Clients no longer use mTLS for.*(?: and are refused: |: auto mTLS is disabled)/,
      "Keep a DestinationRule with tls mode ISTIO_MUTUAL for the Services of these workloads.",
    ],
    [
      /^Clients no longer use mTLS for(?!.*(?: and are refused: |: auto mTLS is disabled))/,
      "Use mode PERMISSIVE instead of DISABLE: it accepts plaintext too, and clients of the mesh use mTLS.",
    ],
    [
      /^(?!Clients no longer use mTLS).*(?:no PeerAuthentication requires mTLS|has mode|sets mode(?! STRICT at this port, and))/,
      "Keep a PeerAuthentication with mode STRICT in force for the namespace and its workloads, or write a MeshwardException with an end date.",
    ],
    [
      /: (PeerAuthentication \S+) lists ports, and/,
      "Set spec.mtls.mode of $1 to STRICT, and list the ports that accept plaintext in portLevelMtls: istiod then sends ztunnel all of it.",
    ],
  ],
  "peer-authentication-permissive": [
    [
      /once (PeerAuthentication \S+) no longer applies:/,
      "Delete the policy, which has no effect, or set its mode to STRICT before $1 goes.",
    ],
    [
      /(in|of) namespace (?!.* plaintext once )/,
      `Set the mode to STRICT, or remove it to inherit a STRICT mode. ${forCallers}`,
    ],
    [/of every namespace/, `Set the mode to STRICT. ${forCallers}`],
  ],
  "policy-revision-narrowed": [
    [/, in every namespace$/, "Leave the policy without the label, and give a copy of it the label."],
    [
      /sidecars that were not restarted/,
      "Restart the workloads of the namespace first, so that all of them have the new revision, or leave the policy without the label.",
    ],
  ],
  "peer-authentication-without-effect": [
    [/^A second|^The policy has no effect on/, "Change the policy that applies instead, or delete one of the two."],
    [/: older policies apply/, "Change the older policies instead, or delete this one."],
    [
      /^Istio ignores a policy with a selector/,
      "Create the policy in the namespace of the workloads, or remove the selector to make it mesh-wide.",
    ],
    [
      /^ztunnel (?:accepts|refuses) plaintext at /,
      "Set spec.mtls.mode to STRICT, and list the ports that accept plaintext in portLevelMtls: istiod then sends ztunnel all of it.",
    ],
  ],
  "routes-need-waypoint": [
    [/leaves this route for/, "Match what requests contain, as headers, instead of sourceLabels and sourceNamespace."],
    [
      /ambient and has no waypoint/,
      "Create a waypoint for the namespace (`istioctl waypoint apply --namespace <namespace> --enroll-namespace`), or set the label `istio.io/use-waypoint` on the Service or the ServiceEntry.",
    ],
    [
      /its waypoint (\S+) is not usable/,
      "Make waypoint $1 usable (waypoint-not-found reports why it is not), or use another one.",
    ],
    [
      /^Namespace (\S+) .* its Service (\S+) opts out/,
      "Remove the label istio.io/use-waypoint from Service $1/$2, or set it to the name of a waypoint.",
    ],
    [/is another name for a host/, "Write the routes for the host itself."],
    [/is headless/, "Route to another Service of these pods, one with a cluster IP, and let clients use that one."],
    [/of namespace (\S+) alone$/, "Move the routes to namespace $1."],
    [
      /not exported to namespace (\S+)$/,
      'Export the VirtualService to the namespace of the waypoint: add "$1" to exportTo.',
    ],
  ],
  "destination-rule-needs-waypoint": [
    [
      /^It has a workloadSelector/,
      "Remove workloadSelector: waypoints use no DestinationRule with one for the hosts that they serve.",
    ],
    [
      /ambient and has no waypoint/,
      "Create a waypoint for the namespace (`istioctl waypoint apply --namespace <namespace> --enroll-namespace`), or set the label `istio.io/use-waypoint` on the Service or the ServiceEntry.",
    ],
    [
      /its waypoint (\S+) is not usable/,
      "Make waypoint $1 usable (waypoint-not-found reports why it is not), or use another one.",
    ],
    [
      /^Namespace (\S+) .* its Service (\S+) opts out/,
      "Remove the label istio.io/use-waypoint from Service $1/$2, or set it to the name of a waypoint.",
    ],
    [
      /is headless/,
      "Give these pods another Service, one with a cluster IP and a waypoint, and let clients use that one.",
    ],
    [
      /^It is not exported to namespace (\S+), .* for timetable/,
      'Export the DestinationRule to the namespace of the waypoint: add "$1" to exportTo.',
    ],
    [
      /^It is not exported to namespace .* for tickets/,
      "Remove workloadSelector: with one, a DestinationRule is for workloads of its own namespace alone.",
    ],
  ],
  "virtual-service-subset-hidden-from-waypoint": [
    [
      /for "(\w+)\.railway/,
      "Export DestinationRule railway/$1 to namespace infra (exportTo), or define the subset in the DestinationRule that the waypoint uses.",
    ],
  ],
  "virtual-service-route-unreachable": [
    [/^No (?:request|connection)/, "Move the more specific route before the other one, or remove it."],
    [/^Envoy refuses the listener for subnet/, "Keep the subnet in one of the routes alone."],
    [/^Envoy refuses the listener for server name/, "Keep the server name in one of the matches alone."],
  ],
  "virtual-service-route-rejected": [
    [
      /^The route has no action|^A route (?:cannot|with delegate)/,
      "Set exactly one of route, redirect, directResponse and delegate, and remove the settings that it excludes.",
    ],
    [
      /^Mirror percentage|^The redirect|^Retries|^retryOn|^Weight|^Port|is not a subset name|is not a gateway name/,
      "Correct the field, or remove it.",
    ],
    [/^Redirect code/, "Correct the field, or remove it."],
    [/is no value for header/, "Write `%%` for a percent sign, and variables as `%REQ(name)%`."],
    [/^No destination has a weight/, "Set a weight above 0 for at least one destination."],
    [
      /^The destination has no host|is not a host that requests/,
      "Set the host to the name of a service, without a wildcard.",
    ],
    [/^The VirtualService has no route/, "Add a route to http, tcp or tls."],
    [/is a delegate and cannot have/, "Set hosts, or remove this field: a delegate has only http routes."],
    [/^A delegate cannot delegate/, "Replace the delegate with a route, a redirect or a directResponse."],
    [
      /^Host /,
      "List each host once, as a DNS name, a name that starts with `*.` or an IP address. The host `*` is for gateways other than `mesh`.",
    ],
    [/^exportTo/, "List each namespace once, or only `.` for the own namespace or `*` for all."],
    [/^A tls route needs/, "Add a destination and, for tls, a match with sniHosts."],
    [/^SNI host/, "List in sniHosts only names that match hosts of the VirtualService."],
  ],
  "waypoint-not-found": [
    [
      /^Waypoint (\S+)\/(\S+) does not exist/,
      "Create the waypoint first (`istioctl waypoint apply --namespace $1 --name $2`), or correct the name in the label.",
    ],
    [
      /is not a waypoint/,
      "Set the label to the name of a Gateway with class istio-waypoint. `istioctl waypoint apply` creates one.",
    ],
    [
      /^Waypoint (\S+) is being deleted/,
      "Set the label to the name of another waypoint before $1 is gone, or remove the label.",
    ],
    [
      /^Waypoint (\S+) is not ready/,
      "Wait until waypoint $1 is ready before setting the label. The status of its Gateway says why it is not.",
    ],
    [
      /^Waypoint (\S+) does not accept namespace (\S+):/,
      "Allow namespace $2 in the HBONE listener of Gateway $1: `allowedRoutes.namespaces` with `from: All`, or `from: Selector` and the namespace's labels.",
    ],
    [
      /^Waypoint (\S+) is for .* not for (?:the contents of a namespace|a Service):/,
      "Set the label istio.io/waypoint-for of Gateway $1 to `service` or `all`, or use another waypoint.",
    ],
    [
      /^A ServiceEntry without an address/,
      'Write `addresses`, or let istiod give the hosts some: with a resolution other than NONE, and without the label `networking.istio.io/enable-autoallocate-ip: "false"`. Or remove the label.',
    ],
    [/^A Service with an external name/, "Remove the label. A ServiceEntry for the external host can have a waypoint."],
    [
      /^A headless Service/,
      "Remove the label. For a waypoint for Services, let clients use another Service of these pods, one with a cluster IP; a waypoint for workloads is named by labels of the pods.",
    ],
    [
      /^Waypoint (\S+) is for .* not for a Deployment/,
      "Set the label istio.io/waypoint-for of Gateway $1 to `workload` or `all`, or use another waypoint.",
    ],
    [
      /^Waypoint (\S+) is for .* not for a WorkloadEntry/,
      "Set the label istio.io/waypoint-for of Gateway $1 to `workload` or `all`, or use another waypoint.",
    ],
    [/is empty/, "Set the label to the name of a waypoint, or remove it. The value `none` opts out."],
  ],
  "workload-leaves-mesh": [
    [/leaves the mesh: pods in the host network/, `Do not set hostNetwork. ${forClients}`],
    [
      /leaves the mesh: there is neither a control plane nor a tag for revision "(\S+)"/,
      'Install a control plane with revision "$1" first, or use the revision or a tag of an existing one.',
    ],
    [/leaves the mesh: (label|annotation) (\S+) "/, `Remove the $1 $2. ${forClients}`],
    [
      /leaves the mesh: \w+ selects \S.* in the configuration of the injector/,
      `Keep the labels of the pods, or label them \`sidecar.istio.io/inject: "true"\`, which goes before that configuration. ${forClients}`,
    ],
    [
      /leaves the mesh: the labels and annotations/,
      `Keep the labels and annotations that enroll the pods. ${forClients}`,
    ],
    [
      /leaves the mesh: it looks like the proxy that istiod runs/,
      `Remove the owner reference to the Gateway and the label gateway.istio.io/managed. ${forClients}`,
    ],
    [
      /leaves the mesh: they now have a proxy/,
      `Remove the annotation inject.istio.io/templates, or the labels that request injection. ${forClients}`,
    ],
    [/no longer uses the template/, `Name the template "sidecar" first, as in "sidecar,<name>".`],
    [/bypasses the mesh: (\S+) "/, `Change or remove the annotation $1. ${forClients}`],
  ],
  "workload-outside-mesh": [
    [/ of the pod; |host's network/, `Keep the pods and their ports in the mesh. ${forOthers}`],
    [/no label of the namespace or the pod/, `Enroll the namespace or the pods in the mesh. ${forOthers}`],
    [
      /of the namespace enrolls nothing|Istio leaves namespace/,
      `Enroll the namespace or the pods in the mesh. ${forOthers}`,
    ],
    [
      /bypasses the mesh: (\S+) "/,
      `Change or remove the annotation $1, and exempt a port in a PeerAuthentication instead, so that policies still apply. ${forOthers}`,
    ],
  ],
};

const folder = join(import.meta.dirname, "..", "rules");

describe("the fix of a finding is one for what was found", () => {
  for (const [id, rows] of Object.entries(fixes))
    test(id, async () => {
      const found = await findingsOf(id);
      const used = found.map(({ message, fix, rule }) => {
        const matching = rows.filter(([pattern]) => pattern.test(message));
        assert.equal(matching.length, 1, `${matching.length} rows for: ${message}`);
        const [pattern, expected] = matching[0] as (typeof rows)[number];
        const [whole = ""] = pattern.exec(message) ?? [];
        assert.equal(fix ?? rule.fix, whole.replace(pattern, expected), message);
        return pattern;
      });
      for (const [pattern] of rows) assert.ok(used.includes(pattern), `no fixture has ${pattern}`);
    });
});

async function findingsOf(id: string): Promise<readonly Finding[]> {
  const rule = rules.find((one) => one.id === id);
  assert.ok(rule);
  const files = readdirSync(join(folder, id)).filter((name) => name.endsWith(".yaml"));
  return (await Promise.all(files.map((file) => findingsOfFixture(rule, join(folder, id, file))))).flat();
}
