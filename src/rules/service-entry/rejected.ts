import { defineRule } from "../../engine/rule.ts";
import { serviceEntryRefusalsOf } from "../../mesh/traffic/service-entry-validation.ts";

export const serviceEntryRejected = defineRule({
  id: "service-entry-rejected",
  subject: "ServiceEntry",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "Istio rejects the ServiceEntry because of its addresses, ports, resolution or endpoints.",
  why: "The validation webhook of istiod rejects it (Istio pkg/config/validation/validation.go ValidateServiceEntry). If that webhook is unavailable, not installed or set to Ignore, the ServiceEntry is stored, and clients get no cluster for it, one without endpoints, or one host for the connections of all. Faults of hosts are reported by service-entry-host-invalid.",
  fix: "Correct the field, or remove it.",

  *check(entry) {
    yield* serviceEntryRefusalsOf(entry);
  },
});
