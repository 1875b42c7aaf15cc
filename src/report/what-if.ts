import type { ReportedObject } from "./report.ts";

/** An object that would be denied if someone created it as it is now. */
export interface DeniedObject {
  readonly object: ReportedObject;
  /** The namespace of the object; a Namespace belongs to itself. Empty for other cluster-scoped objects. */
  readonly namespace: string;
  /** Who owns the object, by its labels and annotations or those of its Namespace; null if nobody is named. */
  readonly owner: string | null;
  readonly rules: readonly DenyingRule[];
}

export interface DenyingRule {
  readonly rule: string;
  /** The number of findings of the rule that deny. */
  readonly findings: number;
  /** The message of the first one. */
  readonly message: string;
  readonly fix: string;
  /** Whether the rule denies the object already with the policies that are in force. */
  readonly isDeniedNow: boolean;
}

export interface DeniedCounts {
  readonly findings: number;
  readonly objects: number;
  readonly namespaces: number;
  /** The named ones. */
  readonly owners: number;
  /** The number of objects for which nobody is named. */
  readonly unowned: number;
}

/** What other policies would deny of what is there. */
export interface WhatIf {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "WhatIf";
  /** The policies that are asked about: `profile strict`, or the titles of the documents. */
  readonly with: string;
  /** The number of checked objects. */
  readonly objects: number;
  /** What is denied with the policies that are in force, and with the others. */
  readonly inForce: DeniedCounts;
  readonly asked: DeniedCounts;
  /** Sorted by namespace and object. */
  readonly denied: readonly DeniedObject[];
  readonly byRule: readonly { readonly rule: string; readonly objects: number; readonly namespaces: number }[];
  /** Rules that could not be asked, and why. */
  readonly skipped: readonly { readonly rule: string; readonly reason: string }[];
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
