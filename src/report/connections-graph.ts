import type { ConnectionChanges, Connections, ConnectionStatus } from "./connections.ts";
import { changeText, changeTitle, connectionText, routeText } from "./connections-text.ts";

/** Connections as a graph: callers and ports are nodes. */
export interface ConnectionGraph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

export interface GraphNode {
  /** Safe in every language of graphs. */
  readonly id: string;
  readonly label: string;
  readonly kind: "callers" | "ports";
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  readonly label: string;
  readonly status: ConnectionStatus;
  /** What a change does to it; undefined: there is no change. */
  readonly mark?: "+" | "-" | "~";
}

export function graphOfConnections({ groups }: Connections): ConnectionGraph {
  const graph = new Graph();
  for (const { title, connections, routes } of groups) {
    const shares = routes.map((route) => `\nrouted ${routeText(route)}`).join("");
    const to = graph.node("ports", `${title}${shares}`);
    for (const connection of connections) {
      const from = graph.node("callers", connection.from.short);
      const label = connectionText(connection).slice(`from ${connection.from.short}: `.length);
      graph.edges.push({ from, to, label, status: connection.status });
    }
  }
  return graph;
}

export function graphOfChanges({ groups }: ConnectionChanges): ConnectionGraph {
  const graph = new Graph();
  for (const group of groups) {
    const to = graph.node("ports", changeTitle(group));
    for (const change of group.changes) {
      const { mark, text } = changeText(change);
      const from = graph.node("callers", change.from.short);
      const label = `${mark} ${text.replace(`from ${change.from.short}: `, "")}`;
      graph.edges.push({ from, to, label, status: change.is ?? change.was ?? "undecided", mark });
    }
  }
  return graph;
}

class Graph implements ConnectionGraph {
  readonly nodes: GraphNode[] = [];
  readonly edges: GraphEdge[] = [];
  readonly #ids = new Map<string, string>();

  /** The node with this label, once for each kind. */
  node(kind: GraphNode["kind"], label: string): string {
    const key = `${kind} ${label}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = `n${this.nodes.length}`;
      this.#ids.set(key, id);
      this.nodes.push({ id, label, kind });
    }
    return id;
  }
}
