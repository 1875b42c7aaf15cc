import type { Definition } from "./definition-choice.ts";

const mostShown = 5;

/** Which port of a host somebody may mean who names one that it does not have, as a sentence; undefined: it has no port. */
export function portMeant(definitions: readonly Definition[], asked: number): string | undefined {
  const ports = definitions.flatMap(portsOf);
  const leading = ports.find(({ target }) => target === asked);
  if (leading !== undefined) return `Port ${leading.port} leads to port ${asked} of the pods.`;
  const all = [...new Set(ports.map(({ port }) => port))].sort((a, b) => a - b);
  if (all.length === 0) return undefined;
  const more = all.length > mostShown ? " and others" : "";
  return `It has ${all.length === 1 ? "port" : "ports"} ${all.slice(0, mostShown).join(", ")}${more}.`;
}

interface Port {
  readonly port: number;
  /** The port of the pods or endpoints. */
  readonly target: number | string | undefined;
}

const portsOf = (one: Definition): readonly Port[] =>
  one.kind === "Service"
    ? one.spec.ports.flatMap(({ port, targetPort }) => (port === undefined ? [] : { port, target: targetPort }))
    : one.spec.ports.flatMap(({ number }) => (number === undefined ? [] : { port: number, target: undefined }));
