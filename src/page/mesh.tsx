import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { MeshPicture, PictureNamespace } from "../report/mesh-picture.ts";
import type { PageData } from "../report/page-data.ts";
import { Clickable, Cut, Drawing, EdgeList, legibleScale } from "./drawing.tsx";
import { type Edge, type Group, layoutOf, type Node } from "./layout.ts";
import { defaultDenyIn, foundIn, NamespacePicture, routeId } from "./namespace-picture.tsx";
import { type Counts, noCounts, worstOf } from "./select.ts";
import type { Change, State } from "./state.ts";
import { roomInWindow, scaleOf, ZoomTools } from "./zoom.tsx";

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
  const choice = <Namespaces mesh={mesh} state={props.state} change={props.change} />;
  return (
    <section aria-labelledby="picture">
      <h2 id="picture">{focused === undefined ? "Mesh" : `Namespace ${focused.name}`}</h2>
      {focused === undefined ? (
        <Overview mesh={mesh} choice={choice} {...props} />
      ) : (
        <NamespacePicture mesh={mesh} namespace={focused} worst={worst} choice={choice} {...props} />
      )}
    </section>
  );
}

function Namespaces({ mesh, state, change }: { mesh: MeshPicture; state: State; change: Change }) {
  return (
    <label>
      Show
      <select value={state.focus} onChange={(event) => change({ focus: event.currentTarget.value })}>
        <option value="">all namespaces</option>
        {mesh.namespaces.map(({ name }) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

const namespaceSize = { width: 228, height: 78 };

/** Namespaces, who may call whom by name, and the namespaces to which gateways route. */
function Overview({
  mesh,
  counts,
  state,
  change,
  choice,
}: Omit<MeshProps, "data"> & { mesh: MeshPicture; choice: ComponentChildren }) {
  const isFit = state.zoom === "fit";
  const { layout, edges } = useMemo(() => overviewOf(mesh, counts, isFit), [mesh, counts, isFit]);
  const scale = scaleOf(state.zoom, layout);
  const byName = new Map(mesh.namespaces.map((namespace) => [namespace.name, namespace]));
  return (
    <>
      <ZoomTools scale={scale} zoom={state.zoom} change={change}>
        {choice}
      </ZoomTools>
      <Legend />
      <Drawing layout={layout} scale={scale} title="The namespaces of the mesh">
        {[...layout.nodes].map(([name, { x, y }]) => (
          <NamespaceNode
            key={name}
            name={name}
            namespace={byName.get(name)}
            counts={counts.get(name) ?? noCounts}
            scale={scale}
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

function overviewOf(mesh: MeshPicture, counts: ReadonlyMap<string, Counts>, isFit: boolean) {
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
  const worst = ({ name }: PictureNamespace) => worstOf(counts.get(name) ?? noCounts);
  const isTroubled = (one: PictureNamespace) => worst(one) !== "none";
  // The worst first, and web-2 before web-10.
  others.sort(
    (a, b) =>
      bySeverity.indexOf(worst(a)) - bySeverity.indexOf(worst(b)) ||
      a.name.localeCompare(b.name, "en", { numeric: true }),
  );
  const groups: readonly Group[] = [
    { title: "In the mesh, with findings", nodes: others.filter((one) => one.dataPlane !== "none" && isTroubled(one)) },
    {
      title: "In the mesh, without findings",
      nodes: others.filter((one) => one.dataPlane !== "none" && !isTroubled(one)),
    },
    { title: "Not in the mesh", nodes: others.filter((one) => one.dataPlane === "none") },
  ].map(({ title, nodes }) => ({ title, nodes: nodes.map(({ name }) => node(name)) }));
  const room = roomInWindow();
  const layout = layoutOf([...connected].map(node), all, groups, isFit ? room : { width: room.width });
  return { layout, edges: all };
}

const bySeverity = ["deny", "warn", "audit", "none"] as const;

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
  readonly scale: number;
  readonly x: number;
  readonly y: number;
  readonly change: Change;
}

function NamespaceNode({ name, namespace, counts, scale, x, y, change }: NamespaceNodeProps) {
  const { width, height } = namespaceSize;
  const [traffic, access] = namespace === undefined ? [[], []] : [trafficOf(namespace), accessOf(namespace)];
  const label = [name, textOf(traffic), textOf(access), foundIn(counts)].filter((text) => text !== "").join(" ");
  return (
    <Clickable label={label} onClick={() => change({ focus: name })}>
      <svg x={x - width / 2} y={y - height / 2} width={width} height={height}>
        <rect class={`node ${worstOf(counts)}`} x="2" y="2" width={width - 4} height={height - 4} rx="6" />
        <title>{label}</title>
        {/* Four lines of text cannot be read there: a box has its name alone, in larger letters. */}
        {scale < legibleScale ? (
          <Cut x={10} width={width - 18} height={height}>
            <text
              class={scale < legibleScale / 2 ? "name farthest" : "name far"}
              y={height / 2}
              dominant-baseline="central"
            >
              {name}
            </text>
          </Cut>
        ) : (
          <>
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
          </>
        )}
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
