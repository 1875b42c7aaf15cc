import type { ReportedObject, RuleWithoutResult } from "./report.ts";

/** An object that would be denied if someone created it as it is now. */
export interface DeniedObject {
  /** The object. */
  readonly object: ReportedObject;
  /** The namespace of the object; a Namespace belongs to itself. Empty for other cluster-scoped objects. */
  readonly namespace: string;
  /** Who owns the object, by its labels and annotations or those of its Namespace; null if nobody is named. */
  readonly owner: string | null;
  /** What would deny it. */
  readonly rules: readonly DenyingRule[];
}

/** A rule that would deny an object. */
export interface DenyingRule {
  /** The id of the rule. */
  readonly rule: string;
  /** The number of findings of the rule that deny. */
  readonly findings: number;
  /** The message of the first one. */
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
  /** Whether the rule denies the object already with the policies that are in force. */
  readonly isDeniedNow: boolean;
}

/** How much is denied. */
export interface DeniedCounts {
  /** The number of findings. */
  readonly findings: number;
  /** The number of objects. */
  readonly objects: number;
  /** The number of their namespaces. */
  readonly namespaces: number;
  /** The number of owners that are named. */
  readonly owners: number;
  /** The number of objects for which nobody is named. */
  readonly unowned: number;
}

/** The objects that a rule would deny. */
export interface DenialsOfRule {
  /** The id of the rule. */
  readonly rule: string;
  /** The number of objects. */
  readonly objects: number;
  /** The number of their namespaces. */
  readonly namespaces: number;
}

/** What other policies would deny of what is there. */
export interface WhatIf {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "WhatIf";
  /** The policies that are asked about: `profile strict`, or the titles of the documents. */
  readonly with: string;
  /** The number of checked objects. */
  readonly objects: number;
  /** What is denied with the policies that are in force. */
  readonly inForce: DeniedCounts;
  /** What is denied with the others. */
  readonly asked: DeniedCounts;
  /** Sorted by namespace and object. */
  readonly denied: readonly DeniedObject[];
  /** The same by rule. */
  readonly byRule: readonly DenialsOfRule[];
  /** Rules that could not be asked, and why. */
  readonly skipped: readonly RuleWithoutResult[];
  /** What could not be read or checked. */
  readonly errors: readonly string[];
}

/** The counts for a list of denied objects. */
export const deniedCounts = (denied: readonly DeniedObject[]): DeniedCounts => ({
  findings: denied.reduce((sum, { rules }) => sum + rules.reduce((of, { findings }) => of + findings, 0), 0),
  objects: denied.length,
  namespaces: new Set(denied.map(({ namespace }) => namespace)).size,
  owners: new Set(denied.flatMap(({ owner }) => owner ?? [])).size,
  unowned: denied.filter(({ owner }) => owner === null).length,
});
