import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { entriesOf, type Fields, itemsOf, numberOf, type Refused, textOf } from "./raw.ts";

/** The shares of localities (Istio pkg/config/validation/agent/validation.go ValidateLocalityLbSetting). */
export function* refusedDistribution(distribute: unknown, at: Path): Refused {
  const items = itemsOf(distribute, at);
  for (const { fields, at: place } of items) yield* refusedShares(fields, place);
  const froms = items.map(({ fields, at: place }) => ({ name: textOf(fields["from"]), at: [...place, "from"] }));
  yield* refusedNames(froms, contains);
}

function* refusedShares(distribute: Fields, at: Path): Refused {
  const shares = entriesOf(distribute["to"], [...at, "to"]);
  const wrong = shares.find(({ value }) => numberOf(value) < 1 || numberOf(value) > 100);
  const sum = shares.reduce((total, { value }) => total + numberOf(value), 0);
  if (wrong !== undefined) yield { at: wrong.at, message: "The share of a locality is from 1 to 100" };
  else if (sum !== 100) yield { at: [...at, "to"], message: `The shares of the localities sum to ${sum}, not to 100` };
  // istiod reads the entries in any order, so that it does not refuse each overlap each time.
  const isAlways: Overlap = (one, other) => contains(one, other) && contains(other, one);
  yield* refusedNames(
    shares.map(({ key, at: place }) => ({ name: key, at: place })),
    isAlways,
  );
}

/** Whether a locality after another one is refused. */
type Overlap = (before: string, after: string) => boolean;

/** validateLocalities. */
function* refusedNames(localities: readonly { readonly name: string; readonly at: Path }[], overlap: Overlap): Refused {
  const before: string[] = [];
  for (const { name, at } of localities) {
    if (/\*./s.test(name) || partsOf(name).includes(""))
      yield { at, message: `${quoted(name)} is no locality: write region/zone/subzone, with * only at the end` };
    const other = before.find((one) => overlap(one, name));
    if (other !== undefined) yield { at, message: `Localities ${quoted(other)} and ${quoted(name)} overlap` };
    before.push(name);
  }
}

/** Region, zone and subzone; the subzone is the rest. */
function partsOf(locality: string): readonly string[] {
  const [region = "", zone, ...rest] = locality.split("/");
  return [region, ...(zone === undefined ? [] : [zone]), ...(rest.length === 0 ? [] : [rest.join("/")])];
}

/** A region alone has every zone, and a zone alone every subzone; `*` has what follows it in the list. */
const contains: Overlap = (before, after) => {
  const [[region, zone, subzone], [otherRegion, otherZone, otherSubzone]] = [partsOf(before), partsOf(after)];
  if (region === "*") return true;
  if (region !== otherRegion) return false;
  if (otherZone === undefined || zone === undefined || zone === "*") return true;
  return zone === otherZone && (otherSubzone === undefined || [undefined, "*", otherSubzone].includes(subzone));
};
