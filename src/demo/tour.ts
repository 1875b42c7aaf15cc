import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { asset, assetNames } from "../config/assets.ts";
import { readAny } from "../kube/object.ts";
import { type Manifest, type ManifestSet, readManifests } from "../sources/manifests/manifests.ts";
import { printableLine } from "../text/printable.ts";
import { UsageError } from "../text/usage-error.ts";
import type { UserRequest } from "./memory-api-server.ts";

/** One file of the tour: its first comment and its objects. */
export interface TourStep {
  readonly file: string;
  readonly comment: string;
  readonly manifests: readonly Manifest[];
}

const operationKey = "tour.meshward.io/operation";
const userKey = "tour.meshward.io/user";

/** Removes the annotations of the tour, which are not part of the object. */
export function requestOf({ raw }: Manifest): UserRequest {
  const metadata = (raw.metadata ?? {}) as { readonly annotations?: Readonly<Record<string, unknown>> };
  const { [operationKey]: operation, [userKey]: user, ...annotations } = metadata.annotations ?? {};
  const kept = Object.keys(annotations).length > 0 ? { annotations } : { annotations: undefined };
  return {
    raw: { ...raw, metadata: { ...metadata, ...kept } },
    isDeletion: operation === "delete",
    ...(typeof user === "string" ? { user: userNamed(user) } : {}),
  };
}

/** Service accounts get the groups that the API server gives them; a person can be given one group: `ada (sre)`. */
function userNamed(text: string): { username: string; groups: string[] } {
  const account = /^system:serviceaccount:([^:]+):/.exec(text);
  const groups = account ? ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`] : [];
  const person = /^(\S+) \((\S+)\)$/.exec(text);
  const named = person?.[2] === undefined ? [] : [person[2]];
  return { username: person?.[1] ?? text, groups: [...groups, ...named, "system:authenticated"] };
}

export function nameOf({ raw, kind }: Manifest): string {
  const object = readAny(raw, "default");
  if (object === undefined) return printableLine(kind, 200);
  const { namespace, name } = object.metadata;
  return printableLine(`${kind} ${namespace === "" ? name : `${namespace}/${name}`}`, 200);
}

/** The tour that is part of Meshward. */
export async function tour(): Promise<{ steps: readonly TourStep[]; errors: ManifestSet["errors"] }> {
  const steps: TourStep[] = [];
  const errors: ManifestSet["errors"][number][] = [];
  for (const file of assetNames("tour").filter((name) => !name.endsWith(".md"))) {
    const text = asset(file);
    const read = await readManifests(["-"], { input: Readable.from([text]) });
    errors.push(...read.errors.map((error) => ({ ...error, file })));
    steps.push({ file: file.replace("tour/", ""), comment: commentOf(text), manifests: read.manifests });
  }
  return { steps, errors };
}

/** A file or folder of the user. Throws a UsageError if it contains no manifest. */
export async function userSteps(path: string): Promise<{ steps: readonly TourStep[]; errors: ManifestSet["errors"] }> {
  const { manifests, errors } = await readManifests([path]);
  if (manifests.length === 0 && errors.length === 0)
    throw new UsageError(`${path} contains no manifest; give a file or folder with Kubernetes objects in YAML or JSON`);
  const byFile = new Map<string, Manifest[]>();
  for (const manifest of manifests) byFile.set(manifest.file, [...(byFile.get(manifest.file) ?? []), manifest]);
  const steps: TourStep[] = [];
  for (const [file, members] of byFile)
    steps.push({ file, comment: commentOf(await readFile(file, "utf8")), manifests: members });
  return { steps, errors };
}

/** The comment at the beginning of a file. */
function commentOf(text: string): string {
  const lines = text.split(/\r?\n/);
  const end = lines.findIndex((line) => !line.startsWith("#"));
  return lines
    .slice(0, end < 0 ? lines.length : end)
    .map((line) => line.replace(/^#+ ?/, ""))
    .join(" ")
    .trim();
}
