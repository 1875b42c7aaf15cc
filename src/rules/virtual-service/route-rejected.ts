import { defineRule, type Problem } from "../../engine/rule.ts";
import { type RefusedValue, refusedHeaderValues } from "../../mesh/traffic/refused-header-values.ts";
import type { Refusal } from "../../mesh/traffic/refusals.ts";
import { refusalsOf } from "../../mesh/traffic/virtual-service-validation.ts";

export const virtualServiceRouteRejected = defineRule({
  id: "virtual-service-route-rejected",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "Istio rejects the VirtualService because a route is invalid or has no action.",
  why: "The validation webhook of istiod rejects it (Istio pkg/config/validation/validation.go ValidateVirtualService). If that webhook is unavailable, not installed or set to Ignore, istiod takes the object as it is (pilot/pkg/config/kube/crdclient does not validate): it leaves some of it out, and of what it makes of the rest, such as a route without a destination, Envoy rejects all routes of the port and keeps the old ones. Of the values of headers, istiod asks only that their variables end, and not that Envoy knows them (ValidateHTTPHeaderValue): Envoy rejects all routes of the port for one that it does not know.",
  fix: "Correct the field, or remove it.",
  incident: {
    symptoms: ["api-refused", "config-refused"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "`kubectl apply` fails with a message of `validation.istio.io`. Where that webhook does not answer, proxies follow the old routes, and new ones none.",
    wayOut: "Apply the previous version of the VirtualService.",
    silentWhen: "Meshward knows less than istiod about some fields: keep Istio's own validation webhook.",
    page: "https://istio.io/latest/docs/ops/common-problems/validation/",
  },

  *check(virtualService) {
    for (const refusal of refusalsOf(virtualService)) yield withFix(refusal);
    for (const refused of refusedHeaderValues(virtualService)) yield ofValue(refused);
  },
});

const ofValue = ({ at, name, value, because, isCertain }: RefusedValue): Problem => ({
  at,
  message: `${JSON.stringify(value)} is no value for header "${name}": ${because}, so Envoy rejects all routes of the port`,
  fix: "Write `%%` for a percent sign, and variables as `%REQ(name)%`.",
  ...(isCertain ? {} : { onlyWarns: "a later release of Envoy may have the variable" }),
});

/** Fixes by the path of what is rejected, if more can be said than in the fix of the rule. */
const fixes: readonly (readonly [path: RegExp, fix: string])[] = [
  [/^spec$/, "Add a route to http, tcp or tls."],
  [/^spec\.(?:gateways|tcp|tls)$/, "Set hosts, or remove this field: a delegate has only http routes."],
  [
    /^spec\.hosts\.\d+$/,
    "List each host once, as a DNS name, a name that starts with `*.` or an IP address. The host `*` is for gateways other than `mesh`.",
  ],
  [/^spec\.exportTo/, "List each namespace once, or only `.` for the own namespace or `*` for all."],
  [
    /^spec\.http\.\d+$/,
    "Set exactly one of route, redirect, directResponse and delegate, and remove the settings that it excludes.",
  ],
  [/^spec\.http\.\d+\.delegate$/, "Replace the delegate with a route, a redirect or a directResponse."],
  [/^spec\.(?:tcp|tls)\.\d+$/, "Add a destination and, for tls, a match with sniHosts."],
  [
    /^spec\.tls\.\d+\.match\.\d+(?:\.sniHosts\.\d+)?$/,
    "List in sniHosts only names that match hosts of the VirtualService.",
  ],
  [/^spec\.\w+\.\d+\.route$/, "Set a weight above 0 for at least one destination."],
  [/\.(?:destination|mirror)(?:\.host)?$/, "Set the host to the name of a service, without a wildcard."],
];

function withFix(refusal: Refusal): Problem {
  const path = refusal.at.join(".");
  const [, fix] = fixes.find(([pattern]) => pattern.test(path)) ?? [];
  return fix === undefined ? refusal : { ...refusal, fix };
}
