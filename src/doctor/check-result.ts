import { ClusterError } from "../sources/cluster/cluster-error.ts";

export const statuses = ["ok", "warn", "fail", "unknown"] as const;
export type Status = (typeof statuses)[number];

/** The result of one check of an installation. */
export interface CheckResult {
  /** What was checked, for programs: `webhook-rules`. */
  readonly check: string;
  /** `unknown`: it could not be checked, for example because a right is missing. */
  readonly status: Status;
  /** One line. */
  readonly message: string;
  /** What to do; set unless the status is `ok`. */
  readonly advice?: string;
}

export const ok = (check: string, message: string): CheckResult => ({ check, status: "ok", message });
export const warn = (check: string, message: string, advice: string): CheckResult => ({
  check,
  status: "warn",
  message,
  advice,
});
export const fail = (check: string, message: string, advice: string): CheckResult => ({
  check,
  status: "fail",
  message,
  advice,
});
export const unknown = (check: string, message: string, advice: string): CheckResult => ({
  check,
  status: "unknown",
  message,
  advice,
});

/** What a check may do if the API server refuses it: the results are unknown, and other checks go on. */
export async function examined(
  check: string,
  examine: () => Promise<readonly CheckResult[]> | readonly CheckResult[],
): Promise<readonly CheckResult[]> {
  try {
    return await examine();
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    const advice =
      error.fault === "forbidden"
        ? "Run doctor with more rights, or inside the cluster as Meshward's service account"
        : "Run doctor again when the API server answers";
    return [unknown(check, error.message, advice)];
  }
}
