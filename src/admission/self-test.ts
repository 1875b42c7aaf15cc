import type { AdmissionRequest, Decision } from "./review.ts";

/** The object of the self-test: a Lease that is never stored, in Meshward's own namespace. */
export const selfTest = {
  name: "meshward-self-test",
  group: "coordination.k8s.io",
  kind: "Lease",
  /** What the denial says, by which the caller of the API server knows that Meshward was asked. */
  answer: "Meshward's self-test: the API server asks Meshward, and what Meshward denies is denied",
} as const;

export const isSelfTest = ({ kind, name, operation }: AdmissionRequest): boolean =>
  kind.kind === selfTest.kind && kind.group === selfTest.group && name === selfTest.name && operation === "CREATE";

/** A self-test is always denied, whatever the policies say. */
export const selfTestDenied: Decision = {
  allowed: false,
  message: selfTest.answer,
  warnings: [],
  auditAnnotations: {},
  rules: [],
  outcome: "deny",
};
