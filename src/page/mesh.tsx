import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { MeshPicture, PictureNamespace, PictureRoute } from "../report/mesh-picture.ts";
import type { PageData } from "../report/page-data.ts";
import { type Edge, type Group, type Layout, layoutOf, type Node } from "./layout.ts";
import { type Counts, noCounts, worstOf } from "./select.ts";
import type { Change, State } from "./state.ts";

/** The id of the box of an object with routes. */
const routeId = ({ kind, namespace, name }: Pick<PictureRoute, "kind" | "namespace" | "name">): string =>
  `route ${kind} ${namespace}/${name}`;

/** The most severe mode of the findings on each object, by the id of the box that it would have. */
function worstOfRoutes(findings: PageData["findings"]): ReadonlyMap<string, string> {
  const counts = new Map<string, Counts>();
  for (const { kind, namespace, name, mode, exception } of findings) {
    if (exception !== undefined) continue;
    const place = routeId({ kind, namespace, name });
    const known = counts.get(place) ?? noCounts;
    counts.set(place, { ...known, [mode]: known[mode] + 1 });
  }
  return new Map([...counts].map(([place, of]) => [place, worstOf(of)]));
}

interface MeshProps {
  readonly data: PageData;
  readonly counts: ReadonlyMap<string, Counts>;
  readonly state: State;
  readonly change: Change;
}

export function MeshView({ data, ...props }: MeshProps) {
  const { mesh } = data;
  const worst = useMemo(() => worstOfRoutes(data.findings), [data]);
  const focused = mesh?.namespaces.find(({ name }) => name === props.state.focus);
  if (mesh === null)
    return (
      <section aria-labelledby="picture">
        <h2 id="picture">Mesh</h2>
        <p>This report was made without a mesh. Run meshward audit --mesh.</p>
      </section>
    );
  return (
    <section aria-labelledby="picture">
      <h2 id="picture">{focused === undefined ? "Mesh" : `Namespace ${focused.name}`}</h2>
      <Tools mesh={mesh} state={props.state} change={props.change} />
      {focused === undefined ? (
        <Overview mesh={mesh} {...props} />
      ) : (
        <Focus mesh={mesh} namespace={focused} worst={worst} {...props} />
      )}
    </section>
  );
}

function Tools({ mesh, state, change }: { mesh: MeshPicture; state: State; change: Change }) {
  const { zoom, focus } = state;
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Show
        <select value={focus} onChange={(event) => change({ focus: event.currentTarget.value })}>
          <option value="">all namespaces</option>
          {mesh.namespaces.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <button type="button" onClick={() => change({ zoom: Math.max(0.25, zoom / 1.25) })} aria-label="Smaller">
        −
      </button>
      <button type="button" onClick={() => change({ zoom: 1 })}>
        {Math.round(zoom * 100)} %
      </button>
      <button type="button" onClick={() => change({ zoom: Math.min(8, zoom * 1.25) })} aria-label="Larger">
        +
      </button>
    </form>
  );
}

const namespaceSize = { width: 200, height: 62 };

/** Namespaces, who may call whom by name, and the namespaces to which gateways route. */
function Overview({ mesh, counts, state, change }: Omit<MeshProps, "data"> & { mesh: MeshPicture }) {
  const { layout, edges } = useMemo(() => overviewOf(mesh, counts), [mesh, counts]);
  const byName = new Map(mesh.namespaces.map((namespace) => [namespace.name, namespace]));
  return (
    <>
      <Legend />
      <Drawing layout={layout} zoom={state.zoom} title="The namespaces of the mesh">
        {[...layout.nodes].map(([name, { x, y }]) => (
          <NamespaceNode
            key={name}
            name={name}
            namespace={byName.get(name)}
            counts={counts.get(name) ?? noCounts}
            x={x}
            y={y}
            change={change}
          />
        ))}
      </Drawing>
      <EdgeList edges={edges} />
    </>
  );
}

function overviewOf(mesh: MeshPicture, counts: ReadonlyMap<string, Counts>) {
  const known = new Set(mesh.namespaces.map(({ name }) => name));
  const edges = new Map<string, Edge>();
  const add = (edge: Edge) => {
    if (edge.from !== edge.to && known.has(edge.from) && known.has(edge.to))
      edges.set(`${edge.kind} ${edge.from} ${edge.to}`, edge);
  };
  for (const { from, to } of mesh.callers) add({ from, to, kind: "calls" });
  for (const { from, to } of gatewayRoutes(mesh)) add({ from, to, kind: "routes" });
  const all = [...edges.values()];
  const connected = new Set(all.flatMap(({ from, to }) => [from, to]));
  const node = (name: string): Node => ({ id: name, ...namespaceSize });
  const others = mesh.namespaces.filter(({ name }) => !connected.has(name));
  const isTroubled = ({ name }: PictureNamespace) => worstOf(counts.get(name) ?? noCounts) !== "none";
  const groups: readonly Group[] = [
    { title: "In the mesh, with findings", nodes: others.filter((one) => one.dataPlane !== "none" && isTroubled(one)) },
    {
      title: "In the mesh, without findings",
      nodes: others.filter((one) => one.dataPlane !== "none" && !isTroubled(one)),
    },
    { title: "Not in the mesh", nodes: others.filter((one) => one.dataPlane === "none") },
  ].map(({ title, nodes }) => ({ title, nodes: nodes.map(({ name }) => node(name)) }));
  const room = Math.max(320, globalThis.innerWidth - 60);
  return { layout: layoutOf([...connected].map(node), all, groups, room), edges: all };
}

/** From the namespaces of gateways to those of destinations. */
const gatewayRoutes = ({ routes }: MeshPicture): readonly { readonly from: string; readonly to: string }[] =>
  routes.flatMap(({ gateways, destinations }) =>
    gateways
      .filter((gateway) => gateway !== "mesh")
      .flatMap((gateway) =>
        destinations.flatMap(({ namespace }) =>
          namespace === null ? [] : [{ from: gateway.split("/")[0] ?? "", to: namespace }],
        ),
      ),
  );

interface NamespaceNodeProps {
  readonly name: string;
  readonly namespace: PictureNamespace | undefined;
  readonly counts: Counts;
  readonly x: number;
  readonly y: number;
  readonly change: Change;
}

function NamespaceNode({ name, namespace, counts, x, y, change }: NamespaceNodeProps) {
  const { width, height } = namespaceSize;
  const facts = namespace === undefined ? [] : factsOf(namespace);
  return (
    <Clickable label={`${name} ${facts.join(" · ")} ${foundIn(counts)}`} onClick={() => change({ focus: name })}>
      <svg x={x - width / 2} y={y - height / 2} width={width} height={height}>
        <rect class={`node ${worstOf(counts)}`} x="2" y="2" width={width - 4} height={height - 4} rx="6" />
        <Cut x={10} width={width - (namespace?.isProtected ? 36 : 18)} height={height}>
          <text class="name" y="20">
            {name}{" "}
          </text>
        </Cut>
        <Cut x={10} width={width - 18} height={height}>
          <text y="37">{facts.join(" · ")} </text>
          <text y="53">{foundIn(counts)}</text>
        </Cut>
        {namespace?.isProtected && (
          <path class="shield" d={`M${width - 20} 8 l8 3 v5 c0 5 -4 8 -8 9 c-4 -1 -8 -4 -8 -9 v-5 z`} />
        )}
      </svg>
    </Clickable>
  );
}

/** Text that is cut where there is no more room for it, and is complete for a screen reader. */
function Cut({
  x,
  width,
  height,
  children,
}: {
  x: number;
  width: number;
  height: number;
  children: ComponentChildren;
}) {
  return (
    <svg x={x} width={width} height={height} overflow="hidden">
      {children}
    </svg>
  );
}

function factsOf({ dataPlane, mtls, defaultDeny, waypoint, isProtected }: PictureNamespace): readonly string[] {
  if (dataPlane === "none") return ["not in the mesh", ...(isProtected ? ["protected"] : [])];
  return [
    `mTLS ${mtls}`,
    { all: "default deny", some: "default deny in part", none: "open" }[defaultDeny],
    dataPlane,
    ...(waypoint === null ? [] : [`waypoint ${waypoint}`]),
    ...(isProtected ? ["protected"] : []),
  ];
}

const foundIn = ({ deny, warn, audit }: Counts): string => {
  const parts = [deny > 0 ? `${deny} deny` : "", warn > 0 ? `${warn} warn` : "", audit > 0 ? `${audit} recorded` : ""];
  return parts.filter((part) => part !== "").join(", ") || "no findings";
};

const clipped = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;

function Legend() {
  return (
    <p class="legend">
      <span class="badge deny">deny</span> <span class="badge warn">warn</span> <span class="badge audit">audit</span>{" "}
      the most severe finding. Dashed: an AuthorizationPolicy names the namespace as a caller. Solid: a gateway of the
      namespace routes requests. A shield: protected. Choose a namespace to see its services and routes.
    </p>
  );
}

/** The most nodes in the picture of one namespace. */
const mostRoutes = 60;
const serviceSize = { width: 190, height: 40 };

interface Box extends Node {
  readonly title: string;
  readonly text: string;
  readonly kind: string;
}

function Focus({
  mesh,
  namespace,
  worst,
  counts,
  state,
  change,
}: Omit<MeshProps, "data"> & {
  mesh: MeshPicture;
  namespace: PictureNamespace;
  worst: ReadonlyMap<string, string>;
}) {
  const { layout, boxes, edges, left } = useMemo(() => focusOf(mesh, namespace), [mesh, namespace]);
  const { name, workloads, waypointTrouble } = namespace;
  return (
    <>
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
      <Drawing layout={layout} zoom={state.zoom} title={`Services and routes of namespace ${name}`}>
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
  const layout = layoutOf(drawn, all, groups, room);
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

function Clickable({ label, onClick, children }: { label: string; onClick: () => void; children: ComponentChildren }) {
  return (
    <g
      role="button"
      tabindex={0}
      aria-label={label}
      class="clickable"
      onClick={onClick}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        onClick();
      }}
    >
      {children}
    </g>
  );
}

function Drawing({
  layout,
  zoom,
  title,
  children,
}: {
  layout: Layout;
  zoom: number;
  title: string;
  children: ComponentChildren;
}) {
  const { width, height, edges, groups } = layout;
  return (
    <div class="drawing" tabIndex={0} role="region" aria-label={`${title}, a picture that can be scrolled`}>
      <svg
        width={width * zoom}
        height={height * zoom}
        viewBox={`0 0 ${width} ${height}`}
        role="group"
        aria-label={title}
      >
        <defs>
          <marker
            id="arrow"
            viewBox="0 0 8 8"
            refX="8"
            refY="4"
            markerWidth="7"
            markerHeight="7"
            orient="auto-start-reverse"
          >
            <path class="arrow" d="M0 0 L8 4 L0 8 z" />
          </marker>
        </defs>
        {edges.map(({ from, to, kind, label, points }, i) => {
          const middle = points[Math.floor(points.length / 2)];
          return (
            <g key={`${from} ${to} ${i}`} aria-hidden="true">
              <path
                class={`edge ${kind}`}
                d={points.map(({ x, y }, at) => `${at === 0 ? "M" : "L"}${x} ${y}`).join(" ")}
                marker-end="url(#arrow)"
              />
              {label && middle && (
                <text class="label" x={middle.x} y={middle.y + 4} text-anchor="middle">
                  {label}
                </text>
              )}
            </g>
          );
        })}
        {groups.map(({ title: heading, x, y }) => (
          <text class="heading" key={heading} x={x} y={y}>
            {heading}
          </text>
        ))}
        {children}
      </svg>
    </div>
  );
}

/** The same as text, for whoever does not see the picture. */
function EdgeList({ edges }: { edges: readonly Edge[] }) {
  if (edges.length === 0) return null;
  return (
    <details>
      <summary>The {edges.length} connections as a list</summary>
      <ul>
        {edges.map(({ from, to, kind, label }, i) => (
          <li key={`${from} ${to} ${i}`}>
            {from} {kind === "calls" ? "may call" : "routes to"} {to}
            {label === undefined ? "" : ` (${label})`}
          </li>
        ))}
      </ul>
    </details>
  );
}
