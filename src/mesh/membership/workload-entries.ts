import type { ObjectOf } from "../../kube/object.ts";

/**
 * The labels by which a WorkloadEntry is selected: those of its spec and those of the object, which take precedence (Istio
 * pilot/pkg/serviceregistry/serviceentry/conversion.go ConvertWorkloadEntry).
 */
export const labelsOfWorkloadEntry = ({
  metadata,
  spec,
}: ObjectOf<"WorkloadEntry">): Readonly<Record<string, string>> => ({ ...spec.labels, ...metadata.labels });
