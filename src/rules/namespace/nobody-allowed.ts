import { defineRule, type Problem, type RuleSide } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ChangedPlace } from "../../mesh/authorization/changed-places.ts";
import { actionOf, type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { Admissions } from "../../mesh/authorization/requests/admitted.ts";
import { allowsAny, type Applied } from "../../mesh/authorization/requests/applied.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { CertainCallers, kindsOfCertainCallers, readsCertainCallers } from "../../mesh/mtls/certain-callers.ts";
import { formatWaypoint } from "../../mesh/waypoints/bindings.ts";
import { idleReason, readsIdlePlaces } from "../../mesh/waypoints/idle-places.ts";
import { type ClosedWay, closedWays, readsNewWays } from "../../mesh/waypoints/new-ways.ts";
import { placesThatMayCloseAndServed } from "../../mesh/waypoints/served-places.ts";
import { forWording } from "../../view/view.ts";

const capturedNow = forWording(captured);
const reads = [...readsNewWays, ...readsCertainCallers, ...readsIdlePlaces, capturedNow] as const;

export const namespaceNobodyAllowed = defineRule({
  id: "namespace-nobody-allowed",
  subject: "Namespace",
  reads,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry", ...kindsOfCertainCallers],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "The policies of a workload allow no request any more; or requests go another way, where nothing allows them.",
  why: "As long as some ALLOW policy applies, even one without rules, a request that no rule allows is denied (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). Where a policy with `spec: {}` stays and the last rule goes, or the rules that are left match nobody, such as one for two namespaces at once, for tokens where no RequestAuthentication is, or for callers that a DENY policy refuses, every request gets 403, and ztunnel closes every connection. So it is behind a waypoint whose policies allow nobody, and where requests bypass the only waypoint that ztunnel lets in.",
  fix: "Keep a rule for the callers that are needed. If nobody is to call the workload any more, delete the workload, or remove its callers first.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "All requests to the workload fail with 403, or its connections are closed, from the moment of the change.",
    wayOut: "Apply the ALLOW policy again that was deleted or changed, or put the label or the Gateway back.",
    silentWhen:
      "Everything was denied before, the default deny goes too, the first one is added, a DENY rule for all requests is added, or it is about workloads that do not exist yet or are not in the mesh, a waypoint that nothing uses, or the Service of a gateway.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const isClosed = closing(before, after);
    for (const place of placesThatMayCloseAndServed(before, after)) {
      yield;
      if (place === undefined || !isClosed(place)) continue;
      yield {
        at: [],
        message: `Nothing allows requests to ${place.name} any more, so all of them are denied`,
        key: place.name,
        related: allowing(place.asked.is).slice(0, 1),
      };
    }
    for (const way of closedWays(before, after)) yield problemOf(way);
  },
});

type Side = RuleSide<"Namespace", (typeof reads)[number]>;

/** Asks whether a place admitted some requests before, and admits none now. Whoever denies everything in one rule means it. */
function closing(before: Side, after: Side): (place: ChangedPlace) => boolean {
  const admissions = new Admissions((values) => after.mesh.visited(Math.ceil(values / 100)));
  const [old, now] = [new CertainCallers(before), new CertainCallers(after)];
  return (place) => {
    const { was, is } = place.asked;
    if (!mayClose(place) || admissions.any(is, now.at(place)) !== false) return false;
    if (admissions.any(was, old.at(place)) !== true) return false;
    return !isOutside(place, after) && idleReason(place, before, after) === undefined;
  };
}

function mayClose(place: ChangedPlace): boolean {
  const { was, is } = place.asked;
  if (place.future !== undefined || !allowsAny(is) || !(allowsAny(was) || hasRules(is))) return false;
  return place.coverageAfter().sealedBy === undefined;
}

/** Whether it is about workloads of a namespace none of which is in the mesh, so that nothing denies. */
function isOutside({ target, hasLeft, isIngress }: ChangedPlace, { object, mesh }: Side): boolean {
  if (target !== undefined || hasLeft !== undefined || isIngress) return false;
  const captures = mesh.get(capturedNow, object).capturesOf({});
  return captures.size === 1 && captures.has("none");
}

const allowing = ({ lists }: Applied): readonly AuthorizationPolicy[] =>
  lists.flatMap(({ policies }) => policies.filter((policy) => actionOf(policy) === "ALLOW"));

/** Without rules, ALLOW policies are a default deny, and others follow. */
const hasRules = (applied: Applied): boolean => allowing(applied).some(({ spec }) => spec.rules.length > 0);

function problemOf({ objects: [first, ...others], waypoint }: ClosedWay): Problem {
  const name = `${first === undefined ? "" : idOf(first)}${others.length === 0 ? "" : ` and ${others.length} ${others.length === 1 ? "other" : "others"}`}`;
  const why =
    waypoint === undefined
      ? "they bypass their waypoint, and ztunnel rejects every caller but waypoints"
      : `they go through waypoint ${formatWaypoint(waypoint.named)}, which refuses all of them`;
  return {
    at: [],
    message: `Nothing allows requests to ${name} any more: from now on ${why}`,
    key: waypoint === undefined ? "ztunnel" : formatWaypoint(waypoint.named),
    related: [first, waypoint?.gateway].filter((object) => object !== undefined),
    fix:
      waypoint === undefined
        ? "Apply an ALLOW policy without targetRefs for the callers that are needed first, or keep the waypoint."
        : "Apply an ALLOW policy for the callers that are needed first, with targetRefs that name the Service or the waypoint.",
  };
}
