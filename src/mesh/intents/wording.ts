import type { Entry } from "./intents.ts";

/** An entry in words: `POST, /payments/* from serviceaccount/orders/api is allowed`. It identifies the entry in its intent. */
export function formatEntry(entry: Entry): string {
  return `${formatRequests(entry)} from ${entry.from.join(", ")} must be ${entry.expect}`;
}

function formatRequests({ methods, notMethods, paths, notPaths, headers }: Entry): string {
  const parts = [
    methods.join(", "),
    notMethods.length > 0 ? `not ${notMethods.join(", ")}` : "",
    paths.join(", "),
    notPaths.length > 0 ? `not ${notPaths.join(", ")}` : "",
    ...Object.entries(headers).map(([name, values]) => `${name}: ${values.join(", ")}`),
  ].filter((part) => part !== "");
  return parts.length === 0 ? "Requests" : `Requests (${parts.join("; ")})`;
}
