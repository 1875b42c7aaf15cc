import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const lookMs = 1_000;
/** What V8 keeps for objects that live no longer than a review. It would take 128 MB; this serves reviews as fast. */
const youngBytes = 8 * 1_048_576;

/**
 * Keeps a server small: gives back once what reading the mesh took, as soon as `isLoaded`, and from then on keeps V8 from
 * taking room for young objects that reviews have no use for. Returns how to stop.
 */
export function keepMemorySmall(isLoaded: () => boolean): () => void {
  let isSettled = false;
  const look = () => {
    if (!isSettled && isLoaded()) {
      isSettled = true;
      giveBack();
    }
    if (isSettled) boundYoung();
  };
  look();
  const timer = setInterval(look, lookMs).unref();
  return () => clearInterval(timer);
}

/** Blocks for as long as V8 needs to visit all that there is: about a quarter of a second for 100,000 objects. */
function giveBack(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as ((options: object) => void) | undefined;
  // "last-resort": free memory, too, that V8 keeps for a next time that does not come.
  collect?.({ type: "major", flavor: "last-resort" });
}

/** V8 grows that room by this factor, and makes it small again when little happens; its own limit holds from the start only. */
function boundYoung(): void {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  const isLarge = young !== undefined && young.space_size >= youngBytes;
  setFlagsFromString(`--semi-space-growth-factor=${isLarge ? 1 : 2}`);
}
