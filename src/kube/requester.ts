/** The user who sends a request. `check` and `audit` have none, because they check objects without a request. */
export interface Requester {
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly user: string;
  readonly groups: readonly string[];
  readonly fieldManager: string;
}
