import { useMemo } from "preact/hooks";
import type { MeshPicture, PictureNamespace } from "../report/mesh-picture.ts";
import type { PageData } from "../report/page-data.ts";
import { Clickable, Cut, Drawing, EdgeList } from "./drawing.tsx";
import { type Edge, type Group, layoutOf, type Node } from "./layout.ts";
import { defaultDenyIn, foundIn, NamespacePicture, routeId } from "./namespace-picture.tsx";
import { type Counts, noCounts, worstOf } from "./select.ts";
import type { Change, State } from "./state.ts";

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
        <NamespacePicture mesh={mesh} namespace={focused} worst={worst} {...props} />
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

const namespaceSize = { width: 228, height: 78 };

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
  const [traffic, access] = namespace === undefined ? [[], []] : [trafficOf(namespace), accessOf(namespace)];
  const label = [name, textOf(traffic), textOf(access), foundIn(counts)].filter((text) => text !== "").join(" ");
  return (
    <Clickable label={label} onClick={() => change({ focus: name })}>
      <svg x={x - width / 2} y={y - height / 2} width={width} height={height}>
        <rect class={`node ${worstOf(counts)}`} x="2" y="2" width={width - 4} height={height - 4} rx="6" />
        <Cut x={10} width={width - (namespace?.isProtected ? 36 : 18)} height={height}>
          <text class="name" y="20">
            {name}{" "}
          </text>
        </Cut>
        <Cut x={10} width={width - 18} height={height}>
          <text y="37">
            <Line line={traffic} />{" "}
          </text>
          <text y="53">
            <Line line={access} />{" "}
          </text>
          <text y="69">{foundIn(counts)}</text>
        </Cut>
        {namespace?.isProtected && (
          <path class="shield" d={`M${width - 20} 8 l8 3 v5 c0 5 -4 8 -8 9 c-4 -1 -8 -4 -8 -9 v-5 z`} />
        )}
      </svg>
    </Clickable>
  );
}

interface Said {
  readonly text: string;
  /** Protects less than it could. */
  readonly isWeak: boolean;
}

/** What arrives at workloads: the data plane, and whether plaintext does. */
const trafficOf = ({ dataPlane, mtls }: PictureNamespace): readonly Said[] =>
  dataPlane === "none"
    ? [{ text: "not in the mesh", isWeak: false }]
    : [
        { text: dataPlane, isWeak: false },
        { text: `mTLS ${mtls}`, isWeak: mtls !== "STRICT" },
      ];

/** Whose requests are allowed, and where that is decided. */
function accessOf({ dataPlane, defaultDeny, waypoint, waypointTrouble }: PictureNamespace): readonly Said[] {
  if (dataPlane === "none") return [];
  const access = { text: defaultDenyIn[defaultDeny], isWeak: defaultDeny !== "all" };
  if (waypoint === null) return [access];
  const isUnused = waypointTrouble !== null;
  return [access, { text: isUnused ? "waypoint unused" : "waypoint", isWeak: isUnused }];
}

const textOf = (line: readonly Said[]): string => line.map(({ text }) => text).join(" · ");

const Line = ({ line }: { line: readonly Said[] }) => (
  <>
    {line.map(({ text, isWeak }, i) => (
      <tspan key={text} class={isWeak ? "weak" : ""}>
        {i === 0 ? "" : " · "}
        {text}
      </tspan>
    ))}
  </>
);

function Legend() {
  return (
    <p class="legend">
      <span class="badge deny">deny</span> <span class="badge warn">warn</span> <span class="badge audit">audit</span>{" "}
      the most severe finding. Dashed: an AuthorizationPolicy names the namespace as a caller. Solid: a gateway of the
      namespace routes requests. A shield: protected. Bold: what protects less. Choose a namespace to see its services
      and routes.
    </p>
  );
}
