import { defineRule } from "../../engine/rule.ts";
import { refusalsOf } from "../../mesh/traffic/virtual-service-validation.ts";

export const virtualServiceRouteRejected = defineRule({
  id: "virtual-service-route-rejected",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "Istio refuses the VirtualService: a route does nothing, or says what cannot be.",
  why: "The webhook of istiod refuses it (Istio pkg/config/validation/validation.go ValidateVirtualService). Where that webhook is down, left out or set to Ignore, istiod ignores the object, or Envoy refuses every route of the listener that it is part of and keeps the old ones.",
  fix: "Give each route exactly one action (route, redirect, directResponse or delegate), and at least one of several destinations a weight above 0.",

  check: refusalsOf,
});
