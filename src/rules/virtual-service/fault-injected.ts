import { defineRule } from "../../engine/rule.ts";
import { injectedFaults } from "../../mesh/traffic/injected-faults.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";

// In CEL: the routes with a fault, and what identifies one.
const routes = "(has(object.spec) && has(object.spec.http) ? object.spec.http : []).filter(r, has(r.fault))";
const percentage = (fault: string, otherwise: string): string =>
  `(has(${fault}.percentage) ? (has(${fault}.percentage.value) ? double(${fault}.percentage.value) : 0.0) : ${otherwise})`;
const identity = (field: string): string =>
  `[dyn('${field}'), has(r.name) ? dyn(r.name) : dyn(null), has(r.match) ? dyn(r.match) : dyn([])]`;
const delay = "r.fault.delay";
const delayed = `has(${delay}) && has(${delay}.fixedDelay) && ${delay}.fixedDelay != '' && ${percentage(delay, `has(${delay}.percent) ? double(${delay}.percent) : 0.0`)} > 0.0`;
const abort = "r.fault.abort";
const aborted = `has(${abort}) && (has(${abort}.httpStatus) || has(${abort}.grpcStatus) && ${abort}.grpcStatus != '') && ${percentage(abort, "0.0")} > 0.0`;

export const virtualServiceFaultInjected = defineRule({
  id: "virtual-service-fault-injected",
  subject: "VirtualService",
  reads: [],
  onlyWithFields: ["spec.http.fault"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["canary"],
  summary: "A route of a protected namespace delays or aborts requests on purpose.",
  why: "Envoy delays or answers this share of the requests itself (Istio pilot/pkg/networking/core/route/route.go TranslateFault). That is for tests, and what a test leaves behind looks like an outage of the service. A fault without a percentage affects no request.",
  fix: "Remove the fault from the route.",
  incident: {
    symptoms: ["fault"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "A constant share of the requests fails with the status in the fault, or is late by the same time.",
    wayOut: "Remove `fault` from the route.",
    silentWhen: "The percentage is 0 or not set, or the delay is exponential, which Envoy does not get.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/fault-injection/",
  },

  cel: {
    problems: `${routes}.filter(r, ${delayed}).map(r, ${identity("delay")})
+ ${routes}.filter(r, ${aborted}).map(r, ${identity("abort")})`,
  },

  *check({ spec }) {
    for (const [i, route] of spec.http.entries()) {
      for (const { field, percent } of injectedFaults(route))
        yield {
          at: ["spec", "http", i, "fault", field],
          message: `${field === "delay" ? "Delays" : "Aborts"} ${percent} % of the requests of ${routeInWords(route)}`,
          key: JSON.stringify([field, route.name, route.match]),
        };
    }
  },
});
