import { defineRule } from "../../engine/rule.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";

export const telemetrySamplingTooHigh = defineRule({
  id: "telemetry-sampling-too-high",
  subject: "Telemetry",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  // How many spans a collector can take is in no manifest.
  stage: "trial",
  parameters: {
    maxPercentage: { summary: "The highest share of requests that may be traced, in percent", default: 10 },
  },
  summary: "A Telemetry traces more requests than the policy allows.",
  why: "Each traced request sends spans from every proxy on its way (Istio pilot/pkg/model/telemetry.go Tracing, RandomSamplingPercentage). At a high rate, the collector and the proxies need several times their CPU and memory, and spans of important requests are lost when the collector drops some.",
  fix: "Lower randomSamplingPercentage, or increase the parameter maxPercentage if the collector is made for it.",
  incident: {
    symptoms: ["load"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The collector drops spans or is killed for its memory, and proxies use more CPU.",
    wayOut: "Apply the previous percentage: proxies use it within seconds.",
    silentWhen: "Reporting of spans is disabled, or the percentage comes from the mesh config.",
    page: "https://istio.io/latest/docs/reference/config/telemetry/",
  },

  cel: {
    problems: `${isServedInCel} && has(object.spec) && has(object.spec.tracing)
? object.spec.tracing.filter(t, !(has(t.disableSpanReporting) && t.disableSpanReporting == true)
&& has(t.randomSamplingPercentage) && t.randomSamplingPercentage != null
&& double(t.randomSamplingPercentage) > double(params.maxPercentage)).map(t, 'sampling')
: []`,
  },

  *check(telemetry, { settings }, { maxPercentage }) {
    if (!isServed(telemetry, settings)) return;
    for (const [i, { randomSamplingPercentage, disableSpanReporting }] of telemetry.spec.tracing.entries())
      if (disableSpanReporting !== true && (randomSamplingPercentage ?? 0) > maxPercentage)
        yield {
          at: ["spec", "tracing", i, "randomSamplingPercentage"],
          message: `${randomSamplingPercentage} percent of the requests are traced, more than ${maxPercentage} percent`,
          key: "sampling",
        };
  },
});
