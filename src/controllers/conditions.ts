import { member } from "../kube/read.ts";

/** metav1.Condition, without the time of its last transition. */
export interface Condition<Type extends string = string> {
  readonly type: Type;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

/** The conditions of a stored status, which may have any shape, without times. */
export const conditionsIn = (status: unknown): readonly Condition[] =>
  storedIn(status).map((one) => ({
    type: String(member(one, "type")),
    status: member(one, "status") as Condition["status"],
    reason: String(member(one, "reason")),
    message: String(member(one, "message")),
    observedGeneration: member(one, "observedGeneration") as number,
  }));

/** A status with the times of its conditions. The time of a condition changes only with its status (metav1.Condition). */
export function withTimes<Status extends { readonly conditions: readonly Condition[] }>(
  status: Status,
  stored: unknown,
  now: Date,
) {
  const time = `${now.toISOString().slice(0, 19)}Z`;
  const before = new Map<unknown, unknown>(
    storedIn(stored).map((one) => [
      `${String(member(one, "type"))} ${String(member(one, "status"))}`,
      member(one, "lastTransitionTime"),
    ]),
  );
  return {
    ...status,
    conditions: status.conditions.map((condition) => {
      const known = before.get(`${condition.type} ${condition.status}`);
      return { ...condition, lastTransitionTime: typeof known === "string" ? known : time };
    }),
  };
}

function storedIn(status: unknown): readonly unknown[] {
  const conditions = member(status, "conditions");
  return Array.isArray(conditions) ? conditions : [];
}
