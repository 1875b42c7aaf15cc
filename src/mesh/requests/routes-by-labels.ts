import type { Labels } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";

/** The positions of the HTTP routes of a VirtualService, by the labels of clients that they ask for; `every`: few ask for any. */
const known = new KeptIn<VirtualService, SelectorGroups<number> | "every">();
/** So few routes are compared one by one. */
const few = 16;
const noLabels: Labels = {};

/**
 * The HTTP routes that clients with these labels may have, in their order. Very many can be for other clients each, and as many clients
 * can be asked for, so that each of them must not look at all routes.
 */
export function httpRoutesFor(
  virtualService: VirtualService,
  labels: Labels,
): Iterable<readonly [index: number, route: HttpRoute]> {
  const { http } = virtualService.spec;
  if (http.length < few) return http.entries();
  let groups = known.get(virtualService);
  if (groups === undefined) known.set(virtualService, (groups = groupsOf(http)));
  if (groups === "every") return http.entries();
  const found = new Set(groups.selecting(labels).flatMap(({ members }) => members));
  return [...found].sort((a, b) => a - b).map((index) => [index, http[index] as HttpRoute] as const);
}

function groupsOf(http: readonly HttpRoute[]): SelectorGroups<number> | "every" {
  const asked = http.map((route): readonly Labels[] => (route.match.every(isOfLabels) ? labelsIn(route) : [noLabels]));
  if (asked.filter(([first]) => first !== noLabels).length < few) return "every";
  return new SelectorGroups(asked.flatMap((some, index) => some.map((labels) => [labels, index] as const)));
}

const labelsIn = ({ match, delegate }: HttpRoute): readonly Labels[] =>
  match.length === 0 || delegate !== undefined ? [noLabels] : match.map(({ sourceLabels }) => sourceLabels);

/** At a gateway the labels do not count. */
const isOfLabels = ({ gateways, sourceLabels }: HttpRoute["match"][number]): boolean =>
  gateways.length === 0 && Object.keys(sourceLabels).length > 0;
