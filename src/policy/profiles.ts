import { parseAllDocuments } from "yaml";
import { asset } from "../config/assets.ts";
import { suggestion } from "../text/nearest.ts";

/** The files of each profile, strongest last. The other profiles are `baseline` with changes. */
const profiles = {
  observe: ["baseline", "observe"],
  baseline: ["baseline"],
  strict: ["baseline", "strict"],
} as const satisfies Record<string, readonly string[]>;

export type ProfileName = keyof typeof profiles;
export const profileNames = Object.keys(profiles) as readonly ProfileName[];
export const defaultProfile: ProfileName = "baseline";

/** The layer of the users' documents, above every file of a profile. */
export const userLayer = Math.max(...Object.values(profiles).map((files) => files.length));

/** A document of a profile, as parsed from its file. */
export interface ProfileSource {
  readonly raw: unknown;
  /** Path below `policies/`. */
  readonly file: string;
  readonly layer: number;
}

/** Throws an Error if this installation lacks the profile's files. */
export function profileSources(profile: ProfileName): readonly ProfileSource[] {
  return profiles[profile].flatMap((name, layer) => {
    const file = `profiles/${name}.yaml`;
    return parseAllDocuments(asset(file)).map((document) => ({ raw: document.toJS() as unknown, file, layer }));
  });
}

/** Finds a profile by name; otherwise returns a problem of one line. */
export function findProfile(name: string): { readonly profile: ProfileName } | { readonly problem: string } {
  const profile = profileNames.find((known) => known === name);
  if (profile !== undefined) return { profile };
  const hint = suggestion(name, profileNames) || `; the profiles are ${profileNames.join(", ")}`;
  return { problem: `there is no profile ${JSON.stringify(name)}${hint}` };
}
