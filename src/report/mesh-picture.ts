/** What is known of a mesh as a whole, for people who look at it. */
export interface MeshPicture {
  readonly rootNamespace: string;
  /** Sorted by name. */
  readonly namespaces: readonly PictureNamespace[];
  /** Which namespaces the AuthorizationPolicies of another namespace name as callers. */
  readonly callers: readonly PictureCaller[];
  readonly gateways: readonly PictureGateway[];
  readonly routes: readonly PictureRoute[];
  /** The number of routes that are left out, because a page has room for a limited number. */
  readonly moreRoutes: number;
}

export type PictureMtls = "STRICT" | "PERMISSIVE" | "DISABLE" | "mixed" | "none";

export interface PictureNamespace {
  readonly name: string;
  readonly isProtected: boolean;
  readonly dataPlane: "sidecar" | "ambient" | "both" | "none" | "unknown";
  /** What the captured workloads accept, or would accept; `none`: the namespace is not in the mesh. */
  readonly mtls: PictureMtls;
  /** Whether the workloads deny what no policy allows. */
  readonly defaultDeny: "all" | "some" | "none";
  /** `namespace/name` of the waypoint that the namespace uses. */
  readonly waypoint: string | null;
  /** Why the waypoint is not used although the labels name it. */
  readonly waypointTrouble: string | null;
  readonly workloads: number;
  readonly services: readonly string[];
}

export interface PictureCaller {
  readonly from: string;
  readonly to: string;
  readonly policy: string;
}

export interface PictureGateway {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly hosts: readonly string[];
}

/** A route of a VirtualService or of the Gateway API, with the share of requests of each destination. */
export interface PictureRoute {
  /** `VirtualService` or `HTTPRoute`, for example. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly hosts: readonly string[];
  /** `namespace/name`, or `mesh`. */
  readonly gateways: readonly string[];
  readonly destinations: readonly PictureDestination[];
}

export interface PictureDestination {
  readonly host: string;
  /** The namespace of the Service; null for other hosts. */
  readonly namespace: string | null;
  readonly subset: string | null;
  /** 0 to 100; null if it cannot be computed. */
  readonly share: number | null;
}
