import type { Box, Clause } from "../authorization/requests/boxes.ts";
import { Texts } from "../authorization/requests/texts.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { Way } from "./way.ts";

/** Requests that name one host. */
export interface Naming {
  readonly box: Box;
  /** Undefined: which one is not known, or not examined. */
  readonly host: string | undefined;
}

/**
 * Divides requests by the host that they name at a gateway. `isDirect`: they are sent to the gateway itself, and may name any host, so
 * that only those are examined that a condition lists.
 */
export function namingsAt({ box, view, to, payload }: Way, isDirect: boolean, work: Work): readonly Naming[] {
  if (view.isOpen("host") || to === undefined) return [{ box, host: undefined }];
  const rewritten = view.textOf("host");
  if (rewritten !== undefined) return [{ box, host: rewritten }];
  // Within TLS, nothing reads the host that requests name.
  if (!isDirect && payload !== "http") return [{ box, host: to.host }];
  const { found, left } = divided(box, isDirect ? namedIn(box) : [to.host], to.port, work);
  // A client that names another host does not send its requests here.
  return left === undefined || !isDirect ? found : [...found, { box: left, host: undefined }];
}

interface Divided {
  readonly found: readonly Naming[];
  /** The requests that name none of the hosts; undefined: there are none. */
  readonly left: Box | undefined;
}

function divided(box: Box, hosts: readonly string[], port: number, work: Work): Divided {
  const found: Naming[] = [];
  let left: Box | undefined = box;
  for (const host of new Set(hosts)) {
    const own: Box | undefined = left && naming(left, host, port, work);
    if (own === undefined) continue;
    found.push({ box: own, host });
    left = left?.with({ ...hostIs(host, `${host}:${port}`), not: true }, work);
  }
  return { found, left };
}

/** The ports that clients leave out of the name of the host. */
const usualPorts: ReadonlySet<number> = new Set([80, 443]);

/** Where a condition names the other form of the host alone, with its port or without it, that one is meant. */
function naming(box: Box, host: string, port: number, work: Work): Box | undefined {
  const withPort = `${host}:${port}`;
  return box.with(hostIs(usualPorts.has(port) ? host : withPort), work) ?? box.with(hostIs(host, withPort), work);
}

const hostIs = (...hosts: readonly string[]): Clause => ({
  attribute: "host",
  values: new Texts(hosts.map((host) => [host])),
  not: false,
});

const mostNamed = 20;

/** The hosts that a condition lists, without their ports. */
function namedIn(box: Box): readonly string[] {
  const lists = box.clauses.filter(({ attribute, not }) => attribute === "host" && !not);
  return lists
    .flatMap(({ values }) => (values instanceof Texts ? [...values.exact.values()] : []))
    .slice(0, mostNamed)
    .map(([name = ""]) => name.replace(/:\d+$/, "").toLowerCase());
}
