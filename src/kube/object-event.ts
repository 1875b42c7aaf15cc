/** The reference of an Event to its object. `namespace` is "" for a cluster-scoped object. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Required for kubectl describe to find the Event. */
  readonly uid: string | undefined;
}

/** The reasons of Events about objects. The documentation is made from them. */
export const eventReasons = {
  BreakGlassUsed: "A change was admitted by break glass that would otherwise be denied. On the changed object",
  AuditFinding:
    "The background audit found problems on the object that were not there before and that a policy warns of or denies",
  ReconcilerWarned:
    "A GitOps controller made a change that would be denied for a person, because it may still apply the missing objects. On the changed object",
} as const satisfies Readonly<Record<string, string>>;
export type EventReason = keyof typeof eventReasons;

/** The content of a Kubernetes Event of type Warning about an object. */
export interface ObjectEvent {
  readonly reason: EventReason;
  /** Id of the rule; "" if the Event is not about one rule. */
  readonly rule: string;
  /** One printable line of at most 1 KiB, the limit for an Event. */
  readonly note: string;
  readonly regarding: ObjectReference;
}
