import { counted } from "../text/phrases.ts";
import type { ChangeGroup, ConnectionChanges, ConnectionGroup, Connections } from "./connections.ts";
import { changeText, changeTitle, connectionText, noChange, routeText, statusName } from "./connections-text.ts";
import { comment, type Section } from "./markdown-comment.ts";
import { markdownBlock, markdownLine } from "./markdown-text.ts";

/** Each group of ports with its connections, as a comment of limited length. */
export function markdownConnections({ groups, notes }: Connections): string {
  return comment("Meshward: who can reach what", [
    { heading: "Connections", items: groups.map(groupItem), noun: "group of ports" },
    notesSection(notes),
  ]);
}

function groupItem({ title, connections, because, routes }: ConnectionGroup): string {
  const nobody = because.length === 0 ? "nobody" : `nobody: ${because.join("; ")}`;
  const lines = [
    ...(connections.length === 0 ? [nobody] : []),
    ...connections.map((one) => `${statusName(one.status)} ${connectionText(one)}`),
    ...routes.map((route) => `routed ${routeText(route)}`),
  ];
  return [`- **${markdownLine(title)}**`, ...lines.map((line) => `  - ${markdownLine(line)}`)].join("\n");
}

const notesSection = (notes: readonly string[]): Section => ({
  heading: "Not known, or not shown",
  items: notes.map((note) => `- ${markdownLine(note)}`),
  noun: "note",
  isFolded: true,
});

export function markdownConnectionChanges(changes: ConnectionChanges): string {
  const count = changes.groups.reduce((sum, group) => sum + group.changes.length, 0);
  const title =
    count === 0 ? noChange(changes).replace(/\.$/, "") : `${counted(count, "change")} of who can reach what`;
  return comment(`Meshward: ${title}`, [connectionsSection(changes), notesSection(changes.notes)]);
}

/** The section of a comment with what a change does to connections, also for the report of `check`. */
export const connectionsSection = (changes: ConnectionChanges): Section => ({
  heading: "Who can reach what",
  items: changes.groups.length === 0 ? [noChange(changes)] : changes.groups.map(changeItem),
  noun: "group of ports",
  isFilledLast: true,
});

function changeItem(group: ChangeGroup): string {
  const lines = group.changes.map((change) => {
    const { mark, text } = changeText(change);
    // In a block of the language diff, only lines with these signs are coloured.
    return `${mark === "~" ? "!" : mark} ${text}`;
  });
  return `**${markdownLine(changeTitle(group))}**\n\n${markdownBlock(lines, "diff")}\n`;
}
