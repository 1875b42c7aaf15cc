import { printableText } from "../text/printable.ts";
import type { ConnectionGraph, GraphEdge } from "./connections-graph.ts";

/** A graph in the language of Graphviz. */
export function dotGraph({ nodes, edges }: ConnectionGraph): string {
  const nodeLines = nodes.map(
    ({ id, label, kind }) => `  ${id} [label=${quotedLabel(label)}, shape=${kind === "callers" ? "ellipse" : "box"}];`,
  );
  const edgeLines = edges.map(
    (edge) => `  ${edge.from} -> ${edge.to} [label=${quotedLabel(edge.label)}, ${styleOf(edge)}];`,
  );
  return [
    "digraph connections {",
    "  rankdir=LR;",
    "  node [fontname=sans];",
    ...nodeLines,
    ...edgeLines,
    "}",
    "",
  ].join("\n");
}

const styles = { mtls: "solid", tls: "solid", plaintext: "dashed", passed: "dashed", undecided: "dotted" } as const;
const colours = { "+": "darkgreen", "-": "red", "~": "orange" } as const;

const styleOf = ({ status, mark }: GraphEdge): string =>
  `style=${styles[status]}, color=${mark === undefined ? (status === "plaintext" ? "orange" : "black") : colours[mark]}`;

/** `\n` in a label of Graphviz begins a line. */
const quotedLabel = (text: string): string =>
  `"${printableText(text, 4000).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
