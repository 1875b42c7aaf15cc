import dagre from "@dagrejs/dagre";

export interface Node {
  readonly id: string;
  readonly width: number;
  readonly height: number;
}
export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly label?: string;
  readonly kind: "calls" | "routes";
}
export interface Place {
  readonly x: number;
  readonly y: number;
}
export interface Layout {
  readonly width: number;
  readonly height: number;
  /** The centres of the nodes. */
  readonly nodes: ReadonlyMap<string, Place>;
  readonly edges: readonly (Edge & { readonly points: readonly Place[] })[];
  /** The places of the headings of groups. */
  readonly groups: readonly (Place & { readonly title: string })[];
}

/** Nodes without edges, under a heading. */
export interface Group {
  readonly title: string;
  readonly nodes: readonly Node[];
}

const gap = 20;
const headingHeight = 34;

/** Connected nodes from left to right, and below them the others in rows, as wide as the window has room. */
export function layoutOf(
  connected: readonly Node[],
  edges: readonly Edge[],
  groups: readonly Group[],
  room: number,
): Layout {
  const drawn = drawnEdges(connected, edges);
  const nodes = new Map(drawn.nodes);
  const headings: (Place & { title: string })[] = [];
  let { width, height } = drawn;
  for (const { title, nodes: members } of groups.filter((group) => group.nodes.length > 0)) {
    headings.push({ title, x: gap, y: height + headingHeight - 10 });
    height += headingHeight;
    const cell = {
      width: Math.max(...members.map((node) => node.width)),
      height: Math.max(...members.map((node) => node.height)),
    };
    const columns = Math.max(1, Math.floor((room - gap) / (cell.width + gap)));
    for (const [i, node] of members.entries())
      nodes.set(node.id, {
        x: gap + (i % columns) * (cell.width + gap) + cell.width / 2,
        y: height + Math.floor(i / columns) * (cell.height + gap) + cell.height / 2,
      });
    height += Math.ceil(members.length / columns) * (cell.height + gap);
    width = Math.max(width, gap + Math.min(columns, members.length) * (cell.width + gap));
  }
  return { width: Math.max(width, 200), height: height + gap, nodes, edges: drawn.edges, groups: headings };
}

function drawnEdges(connected: readonly Node[], edges: readonly Edge[]): Omit<Layout, "groups"> {
  if (connected.length === 0) return { width: 0, height: 0, nodes: new Map(), edges: [] };
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: gap, ranksep: 70, marginx: gap, marginy: gap, acyclicer: "greedy" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of connected) graph.setNode(id, { width, height });
  for (const [i, edge] of edges.entries())
    graph.setEdge(edge.from, edge.to, edge.label ? { width: 44, height: 16, labelpos: "c" } : {}, String(i));
  dagre.layout(graph);
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  const placed = edges.map((edge, i) => {
    const { points = [] } = graph.edge({ v: edge.from, w: edge.to, name: String(i) }) as { points?: readonly Place[] };
    const [from, to] = [graph.node(edge.from), graph.node(edge.to)] as [Node & Place, Node & Place];
    return { ...edge, points: fromSideToSide(points, from, to) };
  });
  const nodes = new Map(connected.map(({ id }) => [id, graph.node(id) as Place] as const));
  return { width, height, nodes, edges: placed };
}

/**
 * An edge that leaves and enters at the middle of the left or right side. dagre ends edges where they meet the outline, often at
 * the top or the bottom, and there they run behind the other nodes of the column.
 */
function fromSideToSide(points: readonly Place[], from: Node & Place, to: Node & Place): readonly Place[] {
  const between = points.slice(1, -1);
  const side = ({ x, y, width }: Node & Place, next: Place): Place => ({
    x: x + (Math.sign(next.x - x) * width) / 2,
    y,
  });
  return [side(from, between[0] ?? to), ...between, side(to, between.at(-1) ?? from)];
}
