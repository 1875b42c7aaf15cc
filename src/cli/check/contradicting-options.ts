import type { Kind } from "../../kube/kinds.ts";
import { formatsWithConnections } from "../../report/formats.ts";
import { listed } from "../../text/phrases.ts";
import { UsageError } from "../../text/usage-error.ts";
import type { Written } from "../outputs.ts";

/** The kinds that `--partial` and `--complete` name. */
interface StatedKinds {
  readonly partial: readonly Kind[];
  readonly complete: readonly Kind[];
}

/** What `--connections` depends on. */
interface ComparedOptions {
  readonly connections?: boolean | undefined;
  readonly mesh?: string | undefined;
  readonly since?: string | undefined;
}

/** Throws a UsageError for a kind of which the files contain only a part, and everything. */
export function assertKindsOnce({ partial, complete }: StatedKinds): void {
  const both = partial.find((kind) => complete.includes(kind));
  if (both !== undefined)
    throw new UsageError(`--partial and --complete contradict each other for ${both}; give one of the two`);
}

/** Throws a UsageError if `--connections` has nothing to compare with, or nowhere to be shown. */
export function assertConnections({ connections, mesh, since }: ComparedOptions, outputs: readonly Written[]): void {
  if (connections !== true) return;
  if (mesh === undefined && since === undefined)
    throw new UsageError("--connections compares the mesh before and after the change; give --mesh or --since");
  const names: readonly string[] = formatsWithConnections;
  if (!outputs.some(({ format }) => names.includes(format)))
    throw new UsageError(`--connections is shown as ${listed(names, "or")}; add one of these outputs`);
}
