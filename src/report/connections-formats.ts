import type { ConnectionChanges, Connections } from "./connections.ts";
import { csvConnectionChanges, csvConnections } from "./connections-csv.ts";
import { dotGraph } from "./connections-dot.ts";
import { graphOfChanges, graphOfConnections } from "./connections-graph.ts";
import { markdownConnectionChanges, markdownConnections } from "./connections-markdown.ts";
import { mermaidGraph } from "./connections-mermaid.ts";
import { textConnectionChanges, textConnections } from "./connections-text.ts";
import { type Formats, jsonReport } from "./format.ts";

/** The formats of connections. */
export const connectionFormats = {
  text: (report, { page }) => textConnections(report, page),
  json: jsonReport,
  csv: csvConnections,
  markdown: markdownConnections,
  dot: (report) => dotGraph(graphOfConnections(report)),
  mermaid: (report) => mermaidGraph(graphOfConnections(report)),
} satisfies Formats<Connections>;

/** The formats of what a change does to connections: the same names. */
export const connectionChangeFormats = {
  text: (report, { page }) => textConnectionChanges(report, page),
  json: jsonReport,
  csv: csvConnectionChanges,
  markdown: markdownConnectionChanges,
  dot: (report) => dotGraph(graphOfChanges(report)),
  mermaid: (report) => mermaidGraph(graphOfChanges(report)),
} satisfies Formats<ConnectionChanges>;
