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

/** The room of a picture, in pixels. With a height, rows become as long as it takes for the picture to have this shape. */
export interface Room {
  readonly width: number;
  readonly height?: number;
}

/** Connected nodes from left to right, one part of the graph beside the other, and below them the others in rows. */
export function layoutOf(
  connected: readonly Node[],
  edges: readonly Edge[],
  groups: readonly Group[],
  room: Room,
): Layout {
  const parts = partsOf(connected, edges).map((part) => drawnPart(part.nodes, part.edges));
  const filled = groups.filter((group) => group.nodes.length > 0);
  const length = rowLength(parts, filled, room);
  const drawn = inRows(parts, length);
  const nodes = new Map(drawn.nodes);
  const headings: (Place & { title: string })[] = [];
  let { width, height } = drawn;
  for (const { title, nodes: members } of filled) {
    headings.push({ title, x: gap, y: height + headingHeight - 10 });
    height += headingHeight;
    const cell = cellOf(members);
    const columns = Math.max(1, Math.floor((length - gap) / (cell.width + gap)));
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

const cellOf = (members: readonly Node[]) => ({
  width: Math.max(...members.map((node) => node.width)),
  height: Math.max(...members.map((node) => node.height)),
});

type Part = Omit<Layout, "groups">;

function rowLength(parts: readonly Part[], groups: readonly Group[], { width, height }: Room): number {
  if (height === undefined) return width;
  const areas = [
    ...parts.map((part) => part.width * part.height),
    ...groups.map(({ nodes }) => {
      const cell = cellOf(nodes);
      return nodes.length * (cell.width + gap) * (cell.height + gap);
    }),
  ];
  // Parts of different heights leave some room unused.
  const area = 1.4 * areas.reduce((sum, one) => sum + one, 0);
  return Math.max(width, ...parts.map((part) => part.width), Math.sqrt((area * width) / height));
}

/** The parts of the graph that no edge connects, the largest first. */
function partsOf(connected: readonly Node[], edges: readonly Edge[]) {
  const graph = new dagre.graphlib.Graph();
  for (const { id } of connected) graph.setNode(id, {});
  for (const { from, to } of edges) graph.setEdge(from, to, {});
  const parts: readonly (readonly string[])[] = dagre.graphlib.alg.components(graph);
  const partOf = new Map(parts.flatMap((ids, part) => ids.map((id) => [id, part] as const)));
  const nodesOf = Map.groupBy(connected, ({ id }) => partOf.get(id));
  const edgesOf = Map.groupBy(edges, ({ from }) => partOf.get(from));
  return [...nodesOf]
    .map(([part, nodes]) => ({ nodes, edges: edgesOf.get(part) ?? [] }))
    .sort((a, b) => b.nodes.length - a.nodes.length);
}

/** Parts beside each other, as many as fit into the length of a row. */
function inRows(parts: readonly Part[], length: number): Part {
  const nodes = new Map<string, Place>();
  const edges: Part["edges"][number][] = [];
  let [x, y, rowHeight, width] = [0, 0, 0, 0];
  for (const part of parts) {
    if (x > 0 && x + part.width > length) [x, y, rowHeight] = [0, y + rowHeight, 0];
    const moved = (place: Place): Place => ({ x: place.x + x, y: place.y + y });
    for (const [id, place] of part.nodes) nodes.set(id, moved(place));
    for (const edge of part.edges) edges.push({ ...edge, points: edge.points.map(moved) });
    x += part.width;
    rowHeight = Math.max(rowHeight, part.height);
    width = Math.max(width, x);
  }
  return { width, height: y + rowHeight, nodes, edges };
}

function drawnPart(connected: readonly Node[], edges: readonly Edge[]): Part {
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
