/** The reference of an Event to its object. `namespace` is "" for a cluster-scoped object. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Required for kubectl describe to find the Event. */
  readonly uid: string | undefined;
}

/** The content of a Kubernetes Event of type Warning about an object. */
export interface ObjectEvent {
  /** The reason of the Event, in CamelCase. */
  readonly reason: string;
  /** Id of the rule; "" if the Event is not about one rule. */
  readonly rule: string;
  /** One printable line of at most 1 KiB, the limit for an Event. */
  readonly note: string;
  readonly regarding: ObjectReference;
}
