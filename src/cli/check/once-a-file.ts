import type { Finding } from "../../engine/finding.ts";
import type { Lowered, Ruling } from "../../engine/ruling.ts";
import { isAsStrict } from "../../engine/setting.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Manifest } from "../../sources/manifests/document-objects.ts";
import type { FileObject } from "../../sources/manifests/file-mesh.ts";
import { placeholderIn } from "../../sources/manifests/substitution.ts";
import { counted } from "../../text/phrases.ts";
import { type Placeholders, unknownValue } from "../placeholders.ts";
import type { UnknownValues } from "./unknown-values.ts";

/** How a finding may depend on a placeholder. */
export interface DependingOn {
  readonly placeholders: Placeholders;
  readonly unknown: UnknownValues;
  /** The objects of the files. */
  readonly objects: readonly FileObject[];
  /** Lists every finding instead of one a file. */
  readonly isEachListed: boolean;
}

/** Findings that depend on placeholders, of all files. */
export interface CountedFindings {
  readonly findings: number;
  readonly files: number;
  /** One of the placeholders. */
  readonly placeholder: string;
}

interface Depending {
  readonly ruling: Ruling;
  readonly placeholder: string;
  readonly manifest: Manifest;
}

/**
 * The rulings, with those that depend on placeholders as warnings, one for each file: a file of variables would otherwise have one for
 * each host. The one that is listed counts the others.
 */
export function onceAFile(
  rulings: readonly Ruling[],
  by: DependingOn,
): { readonly rulings: readonly Ruling[]; readonly unknown: CountedFindings | undefined } {
  const manifests = new Map(by.objects.map(({ object, manifest }) => [object, manifest]));
  const all = rulings.flatMap((ruling) => dependingOn(ruling, manifests, by) ?? []);
  const [first] = all;
  if (first === undefined) return { rulings, unknown: undefined };
  const files = Map.groupBy(all, ({ manifest }) => manifest.file);
  const shown = new Map<Ruling, Ruling | undefined>(all.map(({ ruling }) => [ruling, undefined]));
  for (const ofFile of files.values()) {
    const listed = by.isEachListed ? ofFile : ofFile.toSorted(byImportance).slice(0, 1);
    for (const one of listed) shown.set(one.ruling, warned(one, ofFile.length - listed.length));
  }
  return {
    rulings: rulings.flatMap((ruling) => (shown.has(ruling) ? (shown.get(ruling) ?? []) : ruling)),
    unknown: { findings: all.length, files: files.size, placeholder: first.placeholder },
  };
}

/** A note about the findings that depend on placeholders. */
export function unknownValues(unknown: CountedFindings | undefined): readonly string[] {
  if (unknown === undefined) return [];
  const { findings, files, placeholder } = unknown;
  const many = `${counted(findings, "finding")} in ${counted(files, "file")} ${findings === 1 ? "depends" : "depend"}`;
  const listed = findings === files ? "" : ", of which each file has one in the report (--verbose lists all)";
  return [
    `${many} on what stands for placeholders such as ${JSON.stringify(placeholder)}${listed}; --substitute NAME=VALUE gives the value of a variable`,
  ];
}

function dependingOn(
  ruling: Ruling,
  manifests: ReadonlyMap<AnyObject, Manifest>,
  by: DependingOn,
): Depending | undefined {
  const manifest = manifestOf(ruling.finding, manifests);
  if (ruling.mode === "off" || manifest === undefined) return undefined;
  const placeholder = placeholderOf(ruling, by);
  return placeholder === undefined ? undefined : { ruling, placeholder, manifest };
}

/** A finding that would only warn depends on the placeholder that it names, unless the object alone is wrong. */
function placeholderOf({ finding, mode, lowered }: Ruling, { placeholders, unknown }: DependingOn): string | undefined {
  const ofObject = unknown.unknownIn(finding);
  if (ofObject !== undefined || mode === "deny") return ofObject;
  if (lowered.some(({ step }) => step === "placeholder")) return placeholders.under(finding);
  return finding.class === "intrinsic" ? undefined : placeholderIn(finding.message);
}

/** That of the subject, or else of the first object that explains the finding and that a file defines. */
function manifestOf(
  { subject, related = [], evidence = [] }: Finding,
  manifests: ReadonlyMap<AnyObject, Manifest>,
): Manifest | undefined {
  for (const object of [subject, ...related, ...evidence.flatMap((one) => ("absent" in one ? [] : [one]))]) {
    const manifest = manifests.get(object);
    if (manifest !== undefined) return manifest;
  }
  return undefined;
}

/** What a change introduced comes first, then what depends on other objects, because they may show what the value is, then what would be denied. */
function byImportance({ ruling: { finding: a } }: Depending, { ruling: { finding: b } }: Depending): number {
  if (a.introduced !== b.introduced) return a.introduced ? -1 : 1;
  const isAlone = ({ class: of }: Finding) => of === "intrinsic";
  if (isAlone(a) !== isAlone(b)) return isAlone(a) ? 1 : -1;
  const [modeOfA, modeOfB] = [a.setting.mode, b.setting.mode];
  return modeOfA === modeOfB ? 0 : isAsStrict(modeOfA, modeOfB) ? -1 : 1;
}

/** Says in the fix what the report does not say elsewhere. */
function warned({ ruling, placeholder }: Depending, others: number): Ruling {
  const { finding, mode } = ruling;
  const reason = unknownValue(placeholder);
  const isDenied = mode === "deny";
  const lowered: readonly Lowered[] = isDenied
    ? [...ruling.lowered, { step: "placeholder", from: "deny", to: "warn", reason }]
    : ruling.lowered;
  const isSaid = lowered.some(({ step }) => step === "placeholder");
  const depend = others === 1 ? "depends on a placeholder and is" : "depend on placeholders and are";
  const added = [
    ...(isSaid ? [] : [`${reason}.`]),
    ...(others === 0 ? [] : [`${counted(others, "more finding")} in this file ${depend} not listed.`]),
  ];
  const fix = [finding.fix ?? finding.rule.fix, ...added].join(" ");
  return { ...ruling, finding: { ...finding, fix }, mode: isDenied ? "warn" : mode, lowered };
}
