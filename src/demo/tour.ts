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

/** A part of a story: its steps follow those of the chapters before it. */
export interface TourChapter {
  /** Without its number: `canary`. Empty for files of the user. */
  readonly name: string;
  readonly title: string;
  readonly text: string;
  /** Without any, the chapter shows an audit of what is stored. */
  readonly steps: readonly TourStep[];
}

export interface Tour {
  readonly chapters: readonly TourChapter[];
  /** Of all files, also of those that are in no chapter: policies are in force from the beginning. */
  readonly manifests: readonly Manifest[];
  readonly errors: ManifestSet["errors"];
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

/**
 * The tour that is part of Meshward: a folder for each chapter, `2-canary`, with its title and its text in `chapter.md`, and the
 * policies beside them.
 */
export async function tour(): Promise<Tour> {
  const read = await Promise.all(
    assetNames("tour")
      .filter((name) => name.endsWith(".yaml"))
      .map(readStep),
  );
  const chapters = assetNames("tour").filter((name) => name.endsWith("/chapter.md"));
  return {
    chapters: chapters.map((page) => chapterOf(page, read)),
    manifests: read.flatMap(({ step }) => step.manifests),
    errors: read.flatMap(({ errors }) => errors),
  };
}

interface ReadStep {
  readonly step: TourStep;
  readonly errors: ManifestSet["errors"];
}

async function readStep(path: string): Promise<ReadStep> {
  const file = path.slice("tour/".length);
  const text = asset(path);
  const { manifests, errors } = await readManifests(["-"], { input: Readable.from([text]) });
  return {
    step: { file, comment: commentOf(text), manifests },
    errors: errors.map((error) => ({ ...error, file: path })),
  };
}

function chapterOf(page: string, read: readonly ReadStep[]): TourChapter {
  const folder = page.slice("tour/".length, -"chapter.md".length);
  const [title = "", ...lines] = asset(page).split("\n");
  return {
    name: folder.replace(/^\d+-/, "").replace(/\/$/, ""),
    title: title.replace(/^# /, ""),
    text: lines.join("\n").trim(),
    steps: read.map(({ step }) => step).filter(({ file }) => file.startsWith(folder)),
  };
}

/** A file or folder of the user, as one chapter. Throws a UsageError if it contains no manifest. */
export async function userTour(path: string): Promise<Tour> {
  const { manifests, errors } = await readManifests([path]);
  if (manifests.length === 0 && errors.length === 0)
    throw new UsageError(`${path} contains no manifest; give a file or folder with Kubernetes objects in YAML or JSON`);
  const byFile = Map.groupBy(manifests, ({ file }) => file);
  const steps: TourStep[] = [];
  for (const [file, members] of byFile)
    steps.push({ file, comment: commentOf(await readFile(file, "utf8")), manifests: members });
  const chapters = steps.length === 0 ? [] : [{ name: "", title: "", text: "", steps }];
  return { chapters, manifests, errors };
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
