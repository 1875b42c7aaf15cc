import type { ComponentChildren } from "preact";
import type { Edge, Layout, Place } from "./layout.ts";

// What both pictures of the mesh are drawn with.

/** Below this scale, letters of the usual size cannot be read. */
export const legibleScale = 0.6;

/** Text that is cut where there is no more room for it, and is complete for a screen reader. */
export function Cut({
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

export function Clickable({
  label,
  onClick,
  children,
}: {
  label: string;
  onClick: () => void;
  children: ComponentChildren;
}) {
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

export function Drawing({
  layout,
  scale,
  title,
  children,
}: {
  layout: Layout;
  scale: number;
  title: string;
  children: ComponentChildren;
}) {
  const { width, height, edges, groups } = layout;
  return (
    <div class="drawing" tabIndex={0} role="region" aria-label={`${title}, a picture that can be scrolled`}>
      <svg
        width={width * scale}
        height={height * scale}
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
              <path class={`edge ${kind}`} d={curveOf(points)} marker-end="url(#arrow)" />
              {label && middle && (
                <text class="label" x={middle.x} y={middle.y + 4} text-anchor="middle">
                  {label}
                </text>
              )}
            </g>
          );
        })}
        {groups.map(({ title: heading, x, y }) => (
          <text class={scale < legibleScale ? "heading far" : "heading"} key={heading} x={x} y={y}>
            {heading}
          </text>
        ))}
        {children}
      </svg>
    </div>
  );
}

/** A curve through the points that is horizontal at each of them, so that it changes its height between the columns. */
function curveOf(points: readonly Place[]): string {
  return points
    .map(({ x, y }, at) => {
      const before = points[at - 1];
      if (before === undefined) return `M${x} ${y}`;
      const middle = (before.x + x) / 2;
      return `C${middle} ${before.y} ${middle} ${y} ${x} ${y}`;
    })
    .join(" ");
}

/** The same as text, for whoever does not see the picture. */
export function EdgeList({ edges }: { edges: readonly Edge[] }) {
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
