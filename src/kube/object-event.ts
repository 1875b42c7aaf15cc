/** What an Event says which object it is about. `namespace` is "" where the object is in none. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Without it kubectl describe does not find the Event. */
  readonly uid: string | undefined;
}

/** Something to be told about an object, where its owners look: what a Kubernetes Event of type Warning is made of. */
export interface ObjectEvent {
  /** Why, in one word of CamelCase. */
  readonly reason: string;
  /** Id of the rule that it is about; "" where it is about none in particular. */
  readonly rule: string;
  /** One printable line of at most 1 KiB, which is all that an Event holds. */
  readonly note: string;
  readonly regarding: ObjectReference;
}
