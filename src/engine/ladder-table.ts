import type { StepName } from "./ruling.ts";

/** What one step of the ladder does, for documentation and `explain`. */
export interface StepDescription {
  /** Completes "A denial becomes …". */
  readonly to: "no finding" | "a warning" | "a record" | "a warning or a record";
  /** The situation. */
  readonly when: string;
  /** What a policy can change about it. */
  readonly setting?: string;
}

/** All steps that can lower the mode of a finding, in the order in which they are tried. */
export const ladderTable: Readonly<Record<StepName, StepDescription>> = {
  gatewayProxy: { to: "no finding", when: "istiod runs the workload for a Gateway" },
  otherObject: {
    to: "no finding",
    when: "the problem existed before the change, and is on an object that the change leaves alone",
  },
  terminatingNamespace: {
    to: "no finding",
    when: "the change leaves the object alone, its namespace is being deleted, and the finding is not about a weakening",
  },
  exception: {
    to: "no finding",
    when: "a MeshwardException accepts it, has not expired, and is one that the policies allow",
    setting: "`exceptions` limits which",
  },
  newRule: {
    to: "a warning",
    when: "the rule is newer than the version of the profile that is in use",
    setting: "a policy that names the rule by its id",
  },
  trial: { to: "a warning", when: "the rule is in its trial stage" },
  limitedEffect: { to: "a warning", when: "the effect is uncertain or limited in this case" },
  nobodyThere: { to: "no finding", when: "nobody is there whom the problem could concern" },
  incompleteEvidence: { to: "a warning", when: "other objects that are not known may resolve it" },
  otherClusters: {
    to: "a warning",
    when: "another cluster of the mesh may have what is missing in this one; a warning becomes no finding",
  },
  placeholder: { to: "a warning", when: "in files: a value is replaced before the file is applied" },
  alternative: {
    to: "a warning",
    when: "in files: another definition of an object, or that this environment does not define it, resolves it",
  },
  existing: {
    to: "a warning",
    when: "the problem existed before the change, on the changed object",
    setting: "`existing: deny`",
  },
  onError: {
    to: "a warning",
    when: "the rule failed with an error, or the review exceeded its CPU time",
    setting: "only with `onError: warn`",
  },
  incompleteData: {
    to: "a warning",
    when: "the data behind a weakening is old or incomplete",
    setting: "`onUnknown: deny`",
  },
  garbageCollection: { to: "a record", when: "Kubernetes deletes what belongs to a deleted object" },
  writer: {
    to: "a record",
    when: "the change is from istiod or the garbage collector, and the finding depends on other objects or, for the garbage collector, weakens something",
  },
  reconciler: {
    to: "a warning",
    when: "the change is from a reconciler, and the finding depends on an object that it may still apply",
    setting: "`reconcilers.mode: deny`",
  },
  dryRun: { to: "a warning", when: "the request is a dry run, and the finding depends on other objects" },
  unconfirmed: { to: "a warning", when: "the API server did not confirm the other objects in time" },
  pending: {
    to: "a warning",
    when: "it depends on a change that was admitted a moment ago and is not stored yet",
    setting: "`onUnknown: deny`, for a weakening",
  },
  breakGlass: {
    to: "a warning",
    when: "the annotation `meshward.io/break-glass` gives a reason, and the user is in one of the groups",
    setting: "`breakGlass.groups`",
  },
  sameTopic: { to: "no finding", when: "another finding that is as severe includes it" },
};
