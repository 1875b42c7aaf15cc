import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Settles the memory once the mesh is there: at once, or when a look each second finds it so. Returns how to stop looking. */
export function settleMemoryOnce(isLoaded: () => boolean): () => void {
  if (isLoaded()) {
    settleMemory();
    return () => undefined;
  }
  const timer = setInterval(() => {
    if (!isLoaded()) return;
    clearInterval(timer);
    settleMemory();
  }, 1_000).unref();
  return () => clearInterval(timer);
}

type CollectGarbage = (options: { readonly type: "major" | "minor"; readonly flavor?: "last-resort" }) => void;

/**
 * Gives back the memory that reading a mesh took, and bounds what reviews will take. V8 keeps free memory for a next time
 * that does not come, and lets the space for young objects grow to 128 MB, where 16 serve reviews as well. Blocks for as
 * long as V8 needs to visit all that there is: about a quarter of a second for 100,000 objects.
 */
function settleMemory(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as CollectGarbage | undefined;
  if (collect === undefined) return;
  // Down to nothing, then once up: as far as reviews need it, and no further.
  collect({ type: "major", flavor: "last-resort" });
  setFlagsFromString("--semi-space-growth-factor=8");
  growYoung(collect);
  setFlagsFromString("--semi-space-growth-factor=1");
}

/** V8 grows the space where more survives than has room in it. */
function growYoung(collect: CollectGarbage): void {
  const survivors = Array.from({ length: 30_000 }, (_, i) => ({ i }));
  collect({ type: "minor" });
  survivors.length = 0;
  collect({ type: "minor" });
}
