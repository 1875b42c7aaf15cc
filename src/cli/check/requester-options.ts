import { InvalidArgumentError, Option } from "commander";
import { writerOf } from "../../admission/writer.ts";
import type { RequestContext } from "../../engine/ruling.ts";
import type { Requester } from "../../policy/match.ts";
import type { Policies } from "../../policy/policies.ts";
import type { MeshSettings } from "../../view/settings.ts";

/** Who would send the objects to the API server, for policies that distinguish requesters. */
export interface RequesterOptions {
  readonly user?: string;
  readonly group: readonly string[];
  readonly operation?: Requester["operation"];
}

const operations: readonly Requester["operation"][] = ["CREATE", "UPDATE", "DELETE"];

export const requesterOptions = (): readonly Option[] => [
  new Option(
    "--user <name>",
    "user who would send the objects, such as system:serviceaccount:flux-system:kustomize-controller",
  ),
  new Option("--group <name>", "group of that user; can be given several times")
    .default([], "none")
    .argParser((name: string, known: readonly string[]) => [...known, name]),
  new Option("--operation <operation>", "operation of the requests, for policies that match operations")
    .choices(operations)
    .argParser((text: string) => {
      const found = operations.find((operation) => operation === text.toUpperCase());
      if (found === undefined) throw new InvalidArgumentError(`expected one of ${operations.join(", ")}.`);
      return found;
    }),
];

/** Undefined without any of the options: then policies for certain requesters do not apply. */
export function requesterFrom({ user, group, operation }: RequesterOptions): Requester | undefined {
  if (user === undefined && group.length === 0 && operation === undefined) return undefined;
  return { operation: operation ?? "CREATE", user: user ?? "", groups: group, fieldManager: "" };
}

/** Files are objects to apply, whatever the operation is: `--operation` alone deletes nothing. */
export const appliedAsDeleted = ({ operation }: RequesterOptions, applied: number): readonly string[] =>
  operation === "DELETE" && applied > 0
    ? [
        "--operation DELETE only chooses the policies: the files are judged as applied; name what is deleted with --delete",
      ]
    : [];

/** How findings are lowered for this requester, as the webhook would; break glass belongs to one request and has no effect. */
export function requestContext(requester: Requester, policies: Policies, settings: MeshSettings): RequestContext {
  return {
    writer: writerOf(requester, policies, settings),
    isDeletion: requester.operation === "DELETE",
    isDryRun: false,
    isUnconfirmed: false,
    isPending: false,
    reconcilers: policies.reconcilerMode,
    breakGlass: undefined,
    isGatewayProxy: () => false,
    incompleteKinds: () => [],
  };
}
