import { counted } from "../text/phrases.ts";

/**
 * The characters that a comment may have, with room for what a workflow adds. GitHub's limit is 65,536; GitLab's is
 * 1,000,000.
 */
export const longestComment = 65_000;

/** A workflow finds the comment that it wrote before by this line. */
const commentMarker = "<!-- meshward -->";

/** A part of a comment: items that are left out from the end if the comment would be too long. */
export interface Section {
  readonly heading: string;
  readonly items: readonly string[];
  /** Closed until a reader opens it. */
  readonly isFolded?: boolean;
  /** It gets the room that the others leave. */
  readonly isFilledLast?: boolean;
  /** What an item is, in the line that says how many are left out. */
  readonly noun: string;
}

/** Sections without items are left out. */
export function comment(title: string, sections: readonly Section[]): string {
  const shown = sections.filter(({ items }) => items.length > 0);
  // Room for the frames of all sections, so that the last ones can at least say what is missing.
  const frames = shown.reduce(
    (sum, section) => sum + framed(section, [leftOut(section, section.items.length)]).length,
    0,
  );
  let room = longestComment - commentMarker.length - title.length - frames - 10;
  const kept = new Map<Section, readonly string[]>();
  const fill = (section: Section) => {
    const fitting = section.items.filter((item) => {
      room -= item.length + 1;
      return room >= 0;
    });
    kept.set(section, fitting);
    room = Math.max(0, room);
  };
  for (const section of shown) if (section.isFilledLast !== true) fill(section);
  for (const section of shown) if (section.isFilledLast === true) fill(section);
  const parts = shown.map((section) => {
    const items = kept.get(section) ?? [];
    const missing = section.items.length - items.length;
    return framed(section, missing === 0 ? items : [...items, leftOut(section, missing)]);
  });
  return [`${commentMarker}\n## ${title}`, ...parts, ""].join("\n\n").trimEnd().concat("\n");
}

const leftOut = ({ noun }: Section, count: number): string =>
  `\n_${counted(count, `more ${noun}`)}: a comment has no room for ${count === 1 ? "it" : "them"}, other formats do._`;

function framed({ heading, items, isFolded = false }: Section, shown: readonly string[]): string {
  const text = shown.join("\n");
  return isFolded
    ? `<details>\n<summary>${heading} (${items.length})</summary>\n\n${text}\n\n</details>`
    : `### ${heading}\n\n${text}`;
}
