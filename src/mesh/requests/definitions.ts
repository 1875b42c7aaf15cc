import type { ObjectOf } from "../../kube/object.ts";
import {
  type DeclaredProtocol,
  declaredProtocol,
  isTlsPort,
  parsedProtocol,
  portByNumber,
  type ServicePort,
} from "../membership/service-protocol.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { covers } from "../traffic/hosts.ts";
import { isTlsProtocol } from "../traffic/service-entry-hosts.ts";

export type ServiceEntry = ObjectOf<"ServiceEntry">;

/** Those of the ServiceEntries that have a name for a host. */
export const entriesFor = (host: string, entries: readonly ServiceEntry[]): readonly ServiceEntry[] =>
  entries.filter(({ spec }) => spec.hosts.some((name) => covers(name, host)));

/** A port of a Service or a ServiceEntry, as clients use it. */
export interface DefinedPort {
  readonly protocol: DeclaredProtocol;
  /** Whether its connections are told apart by the name that TLS asks for. */
  readonly isTls: boolean;
}

/** Undefined: it has no such port. */
export function portOfDefinition(definition: Definition, number: number): DefinedPort | undefined {
  if (definition.kind === "Service") {
    const port = portByNumber(definition, number);
    return port && definedPort(port);
  }
  const port = definition.spec.ports.find((one) => one.number === number);
  return port && { protocol: parsedProtocol(port.protocol ?? ""), isTls: isTlsProtocol(port.protocol) };
}

const definedPorts = new WeakMap<ServicePort, DefinedPort>();

/** The result is stored, because each step of each request asks for it. */
function definedPort(port: ServicePort): DefinedPort {
  let found = definedPorts.get(port);
  if (found === undefined)
    definedPorts.set(port, (found = { protocol: declaredProtocol(port), isTls: isTlsPort(port) }));
  return found;
}

/** The numbers of all ports. */
export const portNumbersOf = (definition: Definition): readonly number[] =>
  definition.kind === "Service"
    ? definition.spec.ports.flatMap(({ port }) => port ?? [])
    : definition.spec.ports.flatMap(({ number }) => number ?? []);

/** How clients send what they send to a port. */
export const sentTo = (definition: Definition, port: number): "http" | "tcp" =>
  portOfDefinition(definition, port)?.protocol === "TCP" ? "tcp" : "http";
