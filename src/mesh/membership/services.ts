import type { ObjectOf } from "../../kube/object.ts";
import { relation } from "../../view/view.ts";
import { namespaceByName, serviceByNamespace } from "../objects/indexes.ts";

export type Service = ObjectOf<"Service">;

/** A namespace and its Services. */
export const servicesOfNamespace = relation("servicesOfNamespace", namespaceByName, serviceByNamespace);

/** A Service and its namespace, which may name a waypoint for it. */
export const namespaceOfService = relation("namespaceOfService", serviceByNamespace, namespaceByName);
