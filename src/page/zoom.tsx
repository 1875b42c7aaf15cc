import type { ComponentChildren } from "preact";
import type { Layout } from "./layout.ts";
import type { Change, Zoom } from "./state.ts";

/** The room that a picture has in the window without being scrolled, in pixels: `.drawing` in page.css. */
export const roomInWindow = (): { readonly width: number; readonly height: number } => ({
  width: Math.max(320, globalThis.innerWidth - 60),
  height: Math.max(200, globalThis.innerHeight * 0.78 - 10),
});

const [least, most] = [0.05, 8];
const mostToFit = 1.5;

export function scaleOf(zoom: Zoom, { width, height }: Pick<Layout, "width" | "height">): number {
  if (zoom !== "fit") return zoom;
  const room = roomInWindow();
  return Math.min(mostToFit, Math.max(least, Math.min(room.width / width, room.height / height)));
}

/** Smaller, larger, all of it; beside the other `children`. */
export function ZoomTools({
  scale,
  zoom,
  change,
  children,
}: {
  readonly scale: number;
  readonly zoom: Zoom;
  readonly change: Change;
  readonly children: ComponentChildren;
}) {
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      {children}
      <button type="button" onClick={() => change({ zoom: Math.max(least, scale / 1.25) })} aria-label="Smaller">
        −
      </button>
      <button
        type="button"
        onClick={() => change({ zoom: 1 })}
        aria-label={`${Math.round(scale * 100)} %, back to 100 %`}
      >
        {Math.round(scale * 100)} %
      </button>
      <button type="button" onClick={() => change({ zoom: Math.min(most, scale * 1.25) })} aria-label="Larger">
        +
      </button>
      <button type="button" aria-pressed={zoom === "fit"} onClick={() => change({ zoom: zoom === "fit" ? 1 : "fit" })}>
        Fit
      </button>
    </form>
  );
}
