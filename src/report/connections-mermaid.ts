import { printableText } from "../text/printable.ts";
import type { ConnectionGraph, GraphEdge } from "./connections-graph.ts";

/** Mermaid draws at most so many edges unless its settings say otherwise (`maxEdges`). */
const mostEdges = 500;

/** A graph in the language of Mermaid, which GitHub and GitLab draw in Markdown. */
export function mermaidGraph({ nodes, edges }: ConnectionGraph): string {
  const drawn = edges.slice(0, mostEdges);
  const used = new Set(drawn.flatMap(({ from, to }) => [from, to]));
  const left = edges.length - drawn.length;
  return [
    "flowchart LR",
    ...(left === 0 ? [] : [`  %% ${left} more connections: Mermaid draws at most ${mostEdges}, so limit the scope`]),
    ...nodes
      .filter(({ id, kind }) => used.has(id) || (kind === "ports" && left === 0))
      .map(
        ({ id, label, kind }) =>
          `  ${id}${kind === "callers" ? `([${quotedLabel(label)}])` : `[${quotedLabel(label)}]`}`,
      ),
    ...drawn.map((edge) => `  ${edge.from} ${arrowOf(edge)}|${quotedLabel(edge.label)}| ${edge.to}`),
    ...drawn.flatMap(({ mark }, i) => (mark === undefined ? [] : [`  linkStyle ${i} stroke:${colours[mark]}`])),
    "",
  ].join("\n");
}

const arrowOf = ({ status }: GraphEdge): string => (status === "mtls" || status === "tls" ? "-->" : "-.->");
const colours = { "+": "green", "-": "red", "~": "orange" } as const;

/** Characters that mean something in labels are written as entities, with `#` in place of `&`. */
const quotedLabel = (text: string): string =>
  `"${printableText(text, 2000)
    .replace(/[^A-Za-z0-9 .,:/()+%\n-]/gu, (character) => `#${character.codePointAt(0)};`)
    .replaceAll("\n", "<br/>")}"`;
