import type { Rule } from "../engine/rule.ts";
import { allowsEveryone as authorizationPolicyAllowsEveryone } from "./authorization-policy/allows-everyone.ts";
import { bypassesWaypoint as authorizationPolicyBypassesWaypoint } from "./authorization-policy/bypasses-waypoint.ts";
import { namespaceUnknown as authorizationPolicyNamespaceUnknown } from "./authorization-policy/namespace-unknown.ts";
import { notEnforcedL7 as authorizationPolicyNotEnforcedL7 } from "./authorization-policy/not-enforced-l7.ts";
import { principalMalformed as authorizationPolicyPrincipalMalformed } from "./authorization-policy/principal-malformed.ts";
import { rulesSplit as authorizationPolicyRulesSplit } from "./authorization-policy/rules-split.ts";
import { targetNotFound as authorizationPolicyTargetNotFound } from "./authorization-policy/target-not-found.ts";
import { waypointLockedOut as authorizationPolicyWaypointLockedOut } from "./authorization-policy/waypoint-locked-out.ts";
import { withoutDefaultDeny as authorizationPolicyWithoutDefaultDeny } from "./authorization-policy/without-default-deny.ts";
import { plaintext as destinationRulePlaintext } from "./destination-rule/plaintext.ts";
import { tlsBreaksStrict as destinationRuleTlsBreaksStrict } from "./destination-rule/tls-breaks-strict.ts";
import { affectsProtected as envoyFilterAffectsProtected } from "./envoy-filter/affects-protected.ts";
import { tlsWeak as gatewayTlsWeak } from "./gateway/tls-weak.ts";
import { weakened as meshConfigWeakened } from "./mesh-config/weakened.ts";
import { dataplaneConflict as namespaceDataplaneConflict } from "./namespace/dataplane-conflict.ts";
import { defaultDenyMissing as namespaceDefaultDenyMissing } from "./namespace/default-deny-missing.ts";
import { defaultDenyRemoved as namespaceDefaultDenyRemoved } from "./namespace/default-deny-removed.ts";
import { enrolledBacksWebhook as namespaceEnrolledBacksWebhook } from "./namespace/enrolled-backs-webhook.ts";
import { leavesMesh as namespaceLeavesMesh } from "./namespace/leaves-mesh.ts";
import { mtlsWeakened as namespaceMtlsWeakened } from "./namespace/mtls-weakened.ts";
import { protectionRemoved as namespaceProtectionRemoved } from "./namespace/protection-removed.ts";
import { objectMalformed } from "./object/malformed.ts";
import { permissive as peerAuthenticationPermissive } from "./peer-authentication/permissive.ts";
import { portUnknown as peerAuthenticationPortUnknown } from "./peer-authentication/port-unknown.ts";
import { withoutEffect as peerAuthenticationWithoutEffect } from "./peer-authentication/without-effect.ts";
import { revisionInert as policyRevisionInert } from "./policy/revision-inert.ts";
import { selectorEmpty as policySelectorEmpty } from "./policy/selector-empty.ts";
import { notRequired as requestAuthenticationNotRequired } from "./request-authentication/not-required.ts";
import { needWaypoint as routesNeedWaypoint } from "./routes/need-waypoint.ts";
import { routeRejected as virtualServiceRouteRejected } from "./virtual-service/route-rejected.ts";
import { subsetNotFound as virtualServiceSubsetNotFound } from "./virtual-service/subset-not-found.ts";
import { weightsNot100 } from "./virtual-service/weights-not-100.ts";
import { notFound as waypointNotFound } from "./waypoint/not-found.ts";
import { leavesMesh as workloadLeavesMesh } from "./workload/leaves-mesh.ts";

/** Every rule, sorted by id. Ids are for ever: a retired one is never given to another rule. */
export const rules: readonly Rule[] = [
  authorizationPolicyAllowsEveryone,
  authorizationPolicyBypassesWaypoint,
  authorizationPolicyNamespaceUnknown,
  authorizationPolicyNotEnforcedL7,
  authorizationPolicyPrincipalMalformed,
  authorizationPolicyRulesSplit,
  authorizationPolicyTargetNotFound,
  authorizationPolicyWaypointLockedOut,
  authorizationPolicyWithoutDefaultDeny,
  destinationRulePlaintext,
  destinationRuleTlsBreaksStrict,
  envoyFilterAffectsProtected,
  gatewayTlsWeak,
  meshConfigWeakened,
  namespaceDataplaneConflict,
  namespaceDefaultDenyMissing,
  namespaceDefaultDenyRemoved,
  namespaceEnrolledBacksWebhook,
  namespaceLeavesMesh,
  namespaceMtlsWeakened,
  namespaceProtectionRemoved,
  objectMalformed, //
  peerAuthenticationPermissive,
  peerAuthenticationPortUnknown,
  peerAuthenticationWithoutEffect,
  policyRevisionInert,
  policySelectorEmpty,
  requestAuthenticationNotRequired,
  routesNeedWaypoint,
  virtualServiceRouteRejected,
  virtualServiceSubsetNotFound,
  weightsNot100,
  waypointNotFound,
  workloadLeavesMesh,
];
