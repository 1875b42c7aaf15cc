/**
 * The annotations that a decision adds to the audit event of the API server, with the name of the webhook as prefix. The
 * documentation is made from them.
 */
export const auditAnnotations = {
  decision: "allow, warn, deny or error (error: the review failed, so the request was denied)",
  rules: "ids of the rules that had findings",
  lowered: "rules whose mode was lowered, each with the reason: `virtual-service-subset-not-found: reconciler`",
  exceptions: "MeshwardExceptions that accepted a finding",
  skipped: "rules that were not evaluated, each with the kind that is not known",
  writer: "the type of the requester if it is no person: reconciler, control plane or garbage collector",
  "break-glass": "the reason that the requester gave for break glass, if it was used",
  unjudged: "why no rule applied to the request",
  mutation: "the mutation that changed the object",
} as const satisfies Readonly<Record<string, string>>;

export type AuditAnnotations = Readonly<Partial<Record<keyof typeof auditAnnotations, string>>>;
