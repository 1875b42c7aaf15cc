import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { MeshPicture, PictureNamespace, PictureRoute } from "../report/mesh-picture.ts";
import { Cut, Drawing, EdgeList } from "./drawing.tsx";
import { type Edge, layoutOf, type Node } from "./layout.ts";
import { type Counts, noCounts } from "./select.ts";
import type { Change, State } from "./state.ts";
import { scaleOf, ZoomTools } from "./zoom.tsx";

/** The id of the box of an object with routes. */
export const routeId = ({ kind, namespace, name }: Pick<PictureRoute, "kind" | "namespace" | "name">): string =>
  `route ${kind} ${namespace}/${name}`;

export const defaultDenyIn = { all: "default deny", some: "default deny in part", none: "open" } as const;

export function factsOf({ dataPlane, mtls, defaultDeny, waypoint, isProtected }: PictureNamespace): readonly string[] {
  if (dataPlane === "none") return ["not in the mesh", ...(isProtected ? ["protected"] : [])];
  return [
    `mTLS ${mtls}`,
    defaultDenyIn[defaultDeny],
    dataPlane,
    ...(waypoint === null ? [] : [`waypoint ${waypoint}`]),
    ...(isProtected ? ["protected"] : []),
  ];
}

export const foundIn = ({ deny, warn, audit }: Counts): string => {
  const parts = [deny > 0 ? `${deny} deny` : "", warn > 0 ? `${warn} warn` : "", audit > 0 ? `${audit} recorded` : ""];
  return parts.filter((part) => part !== "").join(", ") || "no findings";
};

const clipped = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;

/** The most nodes in the picture of one namespace. */
const mostRoutes = 60;
const serviceSize = { width: 190, height: 40 };

interface Box extends Node {
  readonly title: string;
  readonly text: string;
  readonly kind: string;
}

/** One namespace: its services, the routes to them, who may call it and whom it may call. */
export function NamespacePicture({
  mesh,
  namespace,
  worst,
  counts,
  state,
  change,
  choice,
}: {
  readonly mesh: MeshPicture;
  readonly namespace: PictureNamespace;
  readonly worst: ReadonlyMap<string, string>;
  readonly counts: ReadonlyMap<string, Counts>;
  readonly state: State;
  readonly change: Change;
  /** Of the namespace. */
  readonly choice: ComponentChildren;
}) {
  const { layout, boxes, edges, left } = useMemo(() => focusOf(mesh, namespace), [mesh, namespace]);
  const { name, workloads, waypointTrouble } = namespace;
  const scale = scaleOf(state.zoom, layout);
  return (
    <>
      <ZoomTools scale={scale} zoom={state.zoom} change={change}>
        {choice}
      </ZoomTools>
      <p>
        {[...factsOf(namespace), `${workloads} workloads`, foundIn(counts.get(name) ?? noCounts)].join(", ")}
        {waypointTrouble === null ? "" : `; the waypoint is not used: ${waypointTrouble}`}.{" "}
        <button
          type="button"
          class="link"
          onClick={() => change({ view: "findings", namespace: name, rule: "", text: "" })}
        >
          Show the findings
        </button>{" "}
        <button type="button" class="link" onClick={() => change({ focus: "" })}>
          Show all namespaces
        </button>
      </p>
      <Drawing layout={layout} scale={scale} title={`Services and routes of namespace ${name}`}>
        {boxes.map((box) => {
          const place = layout.nodes.get(box.id);
          return place && <BoxNode key={box.id} box={box} worst={worst.get(box.id)} x={place.x} y={place.y} />;
        })}
      </Drawing>
      {left > 0 && <p>{left} routes are not drawn.</p>}
      <EdgeList
        edges={edges.map((edge) => ({ ...edge, from: titleIn(boxes, edge.from), to: titleIn(boxes, edge.to) }))}
      />
    </>
  );
}

const titleIn = (boxes: readonly Box[], id: string): string => boxes.find((box) => box.id === id)?.title ?? id;

function focusOf(mesh: MeshPicture, { name, services, waypoint }: PictureNamespace) {
  const boxes = new Map<string, Box>();
  const edges = new Map<string, Edge>();
  const box: Drawer["box"] = (kind, title, text, id = `${kind} ${title}`) => {
    if (!boxes.has(id)) boxes.set(id, { id, kind, title, text, ...serviceSize });
    return id;
  };
  const connect = (edge: Edge) => edges.set(`${edge.from} ${edge.to} ${edge.label ?? ""}`, edge);
  const routes = mesh.routes.filter(
    (route) => route.namespace === name || route.destinations.some((to) => to.namespace === name),
  );
  for (const route of routes.slice(0, mostRoutes)) drawRoute(route, name, { box, connect });
  const self = box("namespace", name, waypoint === null ? "the services below" : `through waypoint ${waypoint}`);
  for (const { from, policy } of mesh.callers.filter(({ to }) => to === name))
    connect({ from: box("caller", from, "may call"), to: self, kind: "calls", label: clipped(policy, 8) });
  for (const { to } of mesh.callers.filter(({ from }) => from === name))
    connect({ from: self, to: box("callee", to, "may be called"), kind: "calls" });
  for (const gateway of mesh.gateways.filter((one) => one.namespace === name))
    box("gateway", `${name}/${gateway.name}`, gateway.kind);
  for (const service of services) if (!boxes.has(`service ${service}`)) box("service", service, "Service");
  const all = [...edges.values()];
  const connected = new Set(all.flatMap(({ from, to }) => [from, to]));
  const isAlone = ({ id }: Box) => !connected.has(id);
  const list = [...boxes.values()];
  const groups = [
    { title: "Gateways", nodes: list.filter((one) => isAlone(one) && one.kind === "gateway") },
    {
      title: "Services without routes of their own",
      nodes: list.filter((one) => isAlone(one) && one.kind === "service"),
    },
  ];
  const drawn = list.filter((one) => !isAlone(one));
  const room = Math.max(320, globalThis.innerWidth - 60);
  const layout = layoutOf(drawn, all, groups, { width: room });
  return { layout, boxes: list, edges: all, left: Math.max(0, routes.length - mostRoutes) };
}

interface Drawer {
  /** Adds a box unless there is one with this id, and returns the id. */
  readonly box: (kind: string, title: string, text: string, id?: string) => string;
  readonly connect: (edge: Edge) => void;
}

function drawRoute(route: PictureRoute, name: string, { box, connect }: Drawer): void {
  const from = box("route", `${route.namespace}/${route.name}`, clipped(route.hosts.join(", "), 30), routeId(route));
  for (const gateway of route.gateways)
    connect({
      from: box("gateway", gateway, gateway === "mesh" ? "clients in the mesh" : "Gateway"),
      to: from,
      kind: "routes",
    });
  for (const { host, namespace, subset, share } of route.destinations) {
    const service = host.split(".")[0] ?? host;
    const title = namespace === name ? service : namespace === null ? host : `${namespace}/${service}`;
    const to = box(
      "service",
      subset === null ? title : `${title} ${subset}`,
      subset === null ? "Service" : `subset ${subset}`,
    );
    connect({ from, to, kind: "routes", ...(share === null ? {} : { label: `${share} %` }) });
  }
}

function BoxNode({ box, worst = "none", x, y }: { box: Box; worst: string | undefined; x: number; y: number }) {
  const { width, height, kind, title, text } = box;
  return (
    <svg class={`box ${kind}`} x={x - width / 2} y={y - height / 2} width={width} height={height}>
      <rect class={`node ${worst}`} x="2" y="2" width={width - 4} height={height - 4} rx={kind === "route" ? 18 : 6} />
      <Cut x={12} width={width - 22} height={height}>
        <text class="name" y="18">
          {title}
        </text>
        <text y="33">{text}</text>
      </Cut>
    </svg>
  );
}
