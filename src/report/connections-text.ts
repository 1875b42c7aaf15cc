import { styleText } from "node:util";
import { printableLine } from "../text/printable.ts";
import type {
  ChangeGroup,
  Connection,
  ConnectionChange,
  ConnectionChanges,
  ConnectionGroup,
  ConnectionRoute,
  Connections,
  ConnectionStatus,
  ReportedShare,
} from "./connections.ts";
import { hanging, type Page } from "./page.ts";

type Shade = "bold" | "dim" | "red" | "green" | "yellow";
type Style = (shade: Shade, text: string) => string;
const plain: Style = (_, text) => text;
const coloured: Style = (shade, text) => styleText(shade, text, { validateStream: false });

const shown = (text: string): string => printableLine(text, 4000);

/** The connections of each group of ports, one line for each. */
export function textConnections({ groups, notes }: Connections, page: Page): string {
  const style = page.colour ? coloured : plain;
  const lines = groups.flatMap((group) => [...shownGroup(group, style, page), ""]);
  const none = groups.length === 0 ? ["There is nothing here that requests can be sent to.", ""] : [];
  return [...none, ...lines, ...shownNotes(notes, style, page)].join("\n");
}

function shownGroup(
  { title, connections, because, routes }: ConnectionGroup,
  style: Style,
  page: Page,
): readonly string[] {
  const nobody = because.length === 0 ? "nobody" : `nobody: ${because.join("; ")}`;
  return [
    hanging("", style("bold", shown(title)), page, "  "),
    ...(connections.length === 0 ? [hanging("  ", shown(nobody), page)] : []),
    ...connections.map((one) => hanging(headOf(one.status, style), shown(connectionText(one)), page, blankHead)),
    ...routes.map((route) => hanging("  routed     ", shown(routeText(route)), page, blankHead)),
  ];
}

const blankHead = " ".repeat(13);
const names: Readonly<Record<ConnectionStatus, string>> = {
  mtls: "mTLS",
  tls: "TLS",
  passed: "passed on",
  plaintext: "plaintext",
  undecided: "undecided",
};
const shades = { mtls: "green", tls: "green", plaintext: "yellow", passed: "yellow", undecided: "dim" } as const;
const headOf = (status: ConnectionStatus, style: Style): string =>
  `  ${style(shades[status], names[status].padEnd(10))} `;

/** `from orders/api: POST on /payments/*`. */
export function connectionText({ from, requests, partly, because }: Connection): string {
  const some =
    partly === null ? "" : ` (some destinations refuse ${partly.short === requests.short ? "them" : partly.short})`;
  const reason = because.length === 0 ? "" : ` (${because.join("; ")})`;
  return `from ${from.short}: ${requests.short}${some}${reason}`;
}

/** `90 % subset v1, 10 % subset v2 (VirtualService shop/reviews) for namespace web: GET on /reviews/*`. */
export function routeText({ from, requests, to, by }: ConnectionRoute): string {
  const who = by.length === 0 ? "" : ` (${by.join(", ")})`;
  const callers = from === null ? "" : ` for ${from.short}`;
  const what = requests === null ? "" : `${from === null ? " for" : ":"} ${requests.short}`;
  return `to ${sharesText(to)}${who}${callers}${what}`;
}

/** `90 % subset v1, 10 % subset v2`. */
export function sharesText(shares: readonly ReportedShare[]): string {
  return shares.length === 0 ? "nothing" : shares.map(shareText).join(", ");
}

function shareText({ text, percent, because }: ReportedShare): string {
  const reason = because === null ? "" : `, which reach nothing: ${because}`;
  return `${percent === 100 ? "" : `${percent} % `}${text}${reason}`;
}

const shownNotes = (notes: readonly string[], style: Style, page: Page): readonly string[] =>
  notes.length === 0 ? [] : [...notes.map((note) => style("dim", hanging("note: ", shown(note), page))), ""];

/** The changes of each group of ports: `+` appears, `-` goes, `~` changes. */
export function textConnectionChanges(changes: ConnectionChanges, page: Page): string {
  const { groups, notes } = changes;
  const style = page.colour ? coloured : plain;
  const lines = groups.flatMap((group) => [...shownChanges(group, style, page), ""]);
  const none = groups.length === 0 ? [noChange(changes), ""] : [];
  return [...none, ...lines, ...shownNotes(notes, style, page)].join("\n");
}

export const noChange = ({ undecidedPorts }: ConnectionChanges): string =>
  `The change has no ${undecidedPorts === 0 ? "" : "known "}effect on who can reach what.`;

function shownChanges(group: ChangeGroup, style: Style, page: Page): readonly string[] {
  return [
    hanging("  ", style("bold", shown(changeTitle(group))), page),
    ...group.changes.map((change) => {
      const { mark, text } = changeText(change);
      return style(markShades[mark], hanging(`${mark}   `, shown(text), page));
    }),
  ];
}

const markShades = { "+": "green", "-": "red", "~": "yellow" } as const;
export const changeTitle = ({ title, existence }: ChangeGroup): string =>
  existence === "kept" ? title : `${title} (${existence === "new" ? "new" : "removed"})`;

/** A change in one line, and the mark for it. */
export function changeText({ kind, from, requests, was, is, routes }: ConnectionChange): {
  readonly mark: "+" | "-" | "~";
  readonly text: string;
} {
  const what = `from ${from.short}: ${requests.short}`;
  if (kind === "route")
    return { mark: "~", text: `${what}: ${sharesText(routes?.was ?? [])} -> ${sharesText(routes?.is ?? [])}` };
  if (kind === "partly") return { mark: "~", text: `${what}: some destinations refuse them now` };
  if (kind === "wholly") return { mark: "~", text: `${what}: no destination refuses them any more` };
  if (kind === "status") return { mark: "~", text: `${statusName(was)} -> ${statusName(is)} ${what}` };
  return kind === "appeared"
    ? { mark: "+", text: `${statusName(is)} ${what}` }
    : { mark: "-", text: `${statusName(was)} ${what}` };
}

export const statusName = (status: ConnectionStatus | null): string => (status === null ? "none" : names[status]);
