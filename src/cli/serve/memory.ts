import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Keeps what a review makes among V8's young objects. Before a mesh is read: what is computed for its objects lives as long as they
 * do, and V8 would make all that comes of the same literals old at once. What a review makes there, with all that it refers to, would
 * be freed by a full garbage collection only.
 */
export function keepReviewsYoung(): void {
  setFlagsFromString("--no-allocation-site-pretenuring");
}

const lookMs = 1_000;
/** The size of V8's young generation that is enough for reviews. By default V8 enlarges it to 128 MB under load. */
const youngBytes = 8 * 1_048_576;

/**
 * Limits the resident memory of a server. Once `isLoaded` returns true, returns the memory that was used to read the mesh
 * to the operating system, and from then on limits V8's young generation. Returns a function that stops it.
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

/** Blocks while V8 visits all objects: about a quarter of a second for a mesh of 100,000 objects. */
function giveBack(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as ((options: object) => void) | undefined;
  // With "last-resort", V8 also releases free memory that it would keep for later use.
  collect?.({ type: "major", flavor: "last-resort" });
}

/**
 * V8 enlarges the young generation by this factor, and shrinks it when little is allocated. V8's own limit
 * (--max-semi-space-size) has no effect after the start of the process.
 */
function boundYoung(): void {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  const isLarge = young !== undefined && young.space_size >= youngBytes;
  setFlagsFromString(`--semi-space-growth-factor=${isLarge ? 1 : 2}`);
}
