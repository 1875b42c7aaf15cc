import type { Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { tlsModeOf } from "./client-tls.ts";

/** The names that the certificates of servers must have, and the field with them. */
export interface NamedServers {
  readonly at: Path;
  readonly names: ReadonlySet<string>;
  /** The labels of the subset that it is for; undefined: all servers of the host. */
  readonly subset: Labels | undefined;
}

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/**
 * The names that a DestinationRule asks of servers of the mesh: with ISTIO_MUTUAL, in place of the service accounts of the endpoints (Istio
 * pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). With insecureSkipVerify none is compared.
 */
export function namedServersOf({ spec: { trafficPolicy, subsets } }: DestinationRule): readonly NamedServers[] {
  const found = [...namedIn(trafficPolicy, ["spec", "trafficPolicy"], undefined)];
  for (const [i, subset] of subsets.entries())
    found.push(...namedIn(subset.trafficPolicy, ["spec", "subsets", i, "trafficPolicy"], subset.labels));
  return found;
}

function* namedIn(policy: TrafficPolicy, at: Path, subset: Labels | undefined): Iterable<NamedServers> {
  if (policy === undefined) return;
  const places = [{ tls: policy.tls, at }];
  for (const [i, { tls }] of policy.portLevelSettings.entries())
    places.push({ tls, at: [...at, "portLevelSettings", i] });
  for (const { tls, at: place } of places)
    if (
      tls !== undefined &&
      tlsModeOf(tls) === "ISTIO_MUTUAL" &&
      !tls.insecureSkipVerify &&
      tls.subjectAltNames.length > 0
    )
      yield { at: [...place, "tls", "subjectAltNames"], names: new Set(tls.subjectAltNames), subset };
}
