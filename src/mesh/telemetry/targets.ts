import { gatewayApiGroup } from "../objects/labels.ts";
import type { Telemetry } from "./merged-telemetry.ts";

const groups = {
  Service: "",
  ServiceEntry: "networking.istio.io",
  Gateway: gatewayApiGroup,
  GatewayClass: gatewayApiGroup,
} as const;

/** What `targetsOf` has for an object. */
export const targetNamed = (kind: keyof typeof groups, name: string): string => `${groups[kind]}/${kind}/${name}`;

/**
 * The objects that a Telemetry targets, as `group/Kind/name`: in its own namespace, or the class of waypoints. Only a reference to a
 * Gateway can name a namespace, which must be its own (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
 */
export const targetsOf = (telemetry: Telemetry): readonly string[] =>
  refsOf(telemetry).flatMap(({ group, kind, name, namespace }) =>
    kind === "Gateway" && namespace && namespace !== telemetry.metadata.namespace
      ? []
      : [`${group === "core" ? "" : group}/${kind}/${name}`],
  );

/** Whether it targets anything, so that its selector does not count. */
export const hasTargets = (telemetry: Telemetry): boolean => refsOf(telemetry).length > 0;

const refsOf = ({ spec: { targetRef, targetRefs } }: Telemetry): Telemetry["spec"]["targetRefs"] =>
  targetRefs.length === 0 && targetRef !== undefined ? [targetRef] : targetRefs;
