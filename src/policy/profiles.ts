import { parseAllDocuments } from "yaml";
import packageJson from "../../package.json" with { type: "json" };
import { asset } from "../config/assets.ts";
import { member } from "../kube/read.ts";
import { suggestion } from "../text/nearest.ts";
import type { Pin } from "./documents.ts";

export const profileNames = ["observe", "baseline", "strict"] as const;
export type ProfileName = (typeof profileNames)[number];
export const defaultProfile: ProfileName = "baseline";

/** The layer of the users' documents, above every file of a profile. */
export const userLayer = profileNames.length;

/** Whether a document is one of the user, and not one of a profile. */
export const isOfUser = ({ layer }: { readonly layer: number }): boolean => layer >= userLayer;

/** A document of a profile, as parsed from its file. */
export interface ProfileSource {
  readonly raw: unknown;
  /** Path below `policies/`. */
  readonly file: string;
  /** 0 for the profile that extends no other. */
  readonly layer: number;
}

/**
 * The documents of a profile and of those that it extends, weakest first. Throws an Error if this installation lacks a file,
 * or profiles extend each other in a circle.
 */
export function profileSources(profile: ProfileName): readonly ProfileSource[] {
  return filesOf(profile, []).flatMap(({ file, documents }, layer) => documents.map((raw) => ({ raw, file, layer })));
}

interface ProfileFile {
  readonly file: string;
  readonly documents: readonly unknown[];
}

function filesOf(profile: string, path: readonly string[]): readonly ProfileFile[] {
  if (path.includes(profile)) throw new Error(`profiles extend each other: ${[...path, profile].join(" extends ")}`);
  const file = `profiles/${profile}.yaml`;
  const documents = parseAllDocuments(asset(file)).map((document) => document.toJS() as unknown);
  const main = documents.find((raw) => member(member(raw, "metadata"), "name") === profile);
  const others = member(member(main, "spec"), "extends");
  const extended = (Array.isArray(others) ? others : []).map(String);
  return [...extended.flatMap((other) => filesOf(other, [...path, profile])), { file, documents }];
}

export interface FoundProfile {
  readonly profile: ProfileName;
  /** Set if the name contains a version. */
  readonly pin?: Pin;
}

/**
 * Finds a profile by its name, `baseline`, or by its name and a version of Meshward, `baseline@0.1`. With a version, rules
 * that are newer deny nothing. Otherwise returns a problem of one line.
 */
export function findProfile(text: string): FoundProfile | { readonly problem: string } {
  const [name = "", version, ...more] = text.split("@");
  const profile = profileNames.find((known) => known === name);
  if (profile === undefined) {
    const hint = suggestion(name, profileNames) || `; the profiles are ${profileNames.join(", ")}`;
    return { problem: `there is no profile ${JSON.stringify(name)}${hint}` };
  }
  if (version === undefined) return { profile };
  const [, major, minor] = /^(\d{1,6})\.(\d{1,6})(?:\.\d+)?$/.exec(version) ?? [];
  if (major === undefined || minor === undefined || more.length > 0)
    return { problem: `expected a version such as ${profile}@${thisVersion}, found ${JSON.stringify(text)}` };
  const wanted = [Number(major), Number(minor)] as const;
  if (isAfter(wanted, versionOf(packageJson.version)))
    return {
      problem: `this is Meshward ${packageJson.version}, which does not know ${text}; use ${profile}@${thisVersion}`,
    };
  return { profile, pin: { title: `${profile}@${wanted.join(".")}`, version: wanted } };
}

type Version = Pin["version"];
function versionOf(text: string): Version {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  return [major, minor];
}
const thisVersion = versionOf(packageJson.version).join(".");
const isAfter = (a: Version, b: Version): boolean => a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
