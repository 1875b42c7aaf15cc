import type { AnyObject } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { nearest } from "../../text/nearest.ts";
import type { Work } from "../authorization/requests/work.ts";
import { addressFault, hostFault, pathFault, principalFault } from "../requests/written-requests.ts";
import { requestsOf } from "./conditions.ts";
import type { Entry } from "./intents.ts";

/** What is wrong with an intent. */
export interface IntentFault {
  readonly at: Path;
  readonly message: string;
  readonly fix?: string;
  /** It is probably a mistake. */
  readonly isGuess?: true;
  /** The workloads without which it would not be wrong. */
  readonly evidence?: readonly AnyObject[];
}

/** What is wrong with the conditions of an entry: values that no request has, or that probably mean something else. */
export function* conditionFaults(entry: Entry, at: Path, work: Work): Generator<IntentFault, undefined> {
  const ofValues = [
    ...valueFaults.flatMap((one) => one.fields.flatMap((field) => [...faultsOfField(entry, field, one, at)])),
    ...namedFaults(entry.headers, [...at, "headers"], headerFault),
    ...namedFaults(entry.claims, [...at, "claims"], claimFault),
  ];
  yield* ofValues;
  yield* caseFaults(entry, at);
  yield* suspicions(entry, at);
  if (ofValues.length === 0) yield* emptyFaults(entry, at, work);
}

function* caseFaults(entry: Entry, at: Path): Generator<IntentFault, undefined> {
  for (const field of ["methods", "notMethods"] as const)
    for (const [i, method] of entry[field].entries())
      if (method !== method.toUpperCase())
        yield {
          at: [...at, field, i],
          message: `The method "${method}" has lower-case letters, and methods are compared with their case`,
          fix: `Write ${method.toUpperCase()}.`,
        };
}

function* faultsOfField(
  entry: Entry,
  field: (typeof valueFaults)[number]["fields"][number],
  { faultOf, what, fix }: Omit<(typeof valueFaults)[number], "fields">,
  at: Path,
): Generator<IntentFault, undefined> {
  for (const [i, value] of entry[field].entries()) {
    const fault = faultOf(value);
    if (fault !== undefined)
      yield {
        at: [...at, field, i],
        message: `The ${what} "${value}" matches no request as it is meant: ${fault}`,
        fix,
      };
  }
}

const isToken = (text: string): boolean => /^[\w!#$%&'*+.^`|~-]+$/.test(text);

/** A method is a token of HTTP, and has no templates; `*` at an end stands for any text, as in a policy. */
const methodFault = (method: string): string | undefined =>
  isToken(method) ? undefined : "a method is one word and has no commas, no spaces, braces or slashes";

const valueFaults = [
  {
    fields: ["methods", "notMethods"],
    faultOf: methodFault,
    what: "method",
    fix: "Write the method as clients send it, such as GET.",
  },
  {
    fields: ["paths", "notPaths"],
    faultOf: pathFault,
    what: "path",
    fix: "Write an exact path, /x/* for everything below, /x/{*}/y for one segment, or /x/{**} for the rest.",
  },
  {
    fields: ["hosts", "notHosts"],
    faultOf: hostFault,
    what: "host",
    fix: "Write the host as clients send it, or *.example for all below.",
  },
  {
    fields: ["requestPrincipals", "notRequestPrincipals"],
    faultOf: principalFault,
    what: "token",
    fix: "Write issuer/subject, issuer/* for every token of an issuer, or * for any token.",
  },
  {
    fields: ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"],
    faultOf: addressFault,
    what: "address",
    fix: "Write an address or a CIDR block.",
  },
] as const;

interface NameFault {
  readonly message: string;
  readonly fix: string;
}

function* namedFaults(
  all: Readonly<Record<string, readonly string[]>>,
  at: Path,
  faultOf: (name: string) => NameFault | undefined,
): Generator<IntentFault, undefined> {
  for (const [name, values] of Object.entries(all)) {
    const fault = faultOf(name);
    if (fault !== undefined) yield { at: [...at, name], ...fault };
    else if (values.length === 0)
      yield { at: [...at, name], message: `"${name}" has no values`, fix: 'List values; "*" is any value.' };
  }
}

/** The attribute in the key of a condition of an AuthorizationPolicy, and what it names. */
const conditionKey = /^request\.(?:headers|auth\.claims)(?:\[([^[\]]*)\])+$/;

function headerFault(name: string): NameFault | undefined {
  if (isToken(name)) return undefined;
  const inner = conditionKey.exec(name)?.[1];
  if (inner !== undefined)
    return { message: `"${name}" is no name of a header`, fix: `Write the name alone: ${inner}.` };
  return {
    message: `"${name}" is no name of a header`,
    fix: name.startsWith(":")
      ? "Write paths, methods or hosts instead."
      : "Write the name of a header, such as x-team, without spaces.",
  };
}

function claimFault(name: string): NameFault | undefined {
  const inner = conditionKey.exec(name)?.[1];
  if (inner !== undefined)
    return { message: `"${name}" is no name of a claim`, fix: `Write the name alone: ${inner}.` };
  return name === ""
    ? { message: "A claim has no name", fix: "Write the name of the claim, such as role." }
    : undefined;
}

/** What is possible, and is hardly ever meant. */
function* suspicions(entry: Entry, at: Path): Generator<IntentFault, undefined> {
  const of = suspicious.flatMap(({ fields, suspicionOf }) => fields.map((field) => ({ field, suspicionOf })));
  for (const { field, suspicionOf } of of)
    for (const [i, found] of entry[field].map(suspicionOf).entries())
      if (found !== undefined) yield { at: [...at, field, i], ...found, isGuess: true };
  for (const name of ["iss", "sub"].filter((one) => Object.hasOwn(entry.claims, one)))
    yield {
      at: [...at, "claims", name],
      message: `The claim "${name}" is not compared with requestPrincipals, which names issuers and subjects`,
      fix: "Write requestPrincipals: [ISSUER/SUBJECT].",
      isGuess: true,
    };
}

function pathSuspicion(path: string): NameFault | undefined {
  if (/\.[*+]|[\^$\\|]|\[[^\]]*\]/.test(path))
    return {
      message: `The path "${path}" looks like a regular expression, and is compared as text`,
      fix: "Write /x/* for everything below, and /x/{*}/y for one segment.",
    };
  if (/\/:[A-Za-z]/.test(path))
    return {
      message: `The path "${path}" has a segment that starts with a colon, which stands for itself`,
      fix: "Write {*} for one segment.",
    };
  if (/\/\.{1,2}(\/|$)/.test(path))
    return {
      message: `The path "${path}" has a segment of dots, which proxies resolve before policies see the path`,
      fix: "Write the path as it is without them.",
    };
  return undefined;
}

const usualMethods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];

/** One edit from a usual method, of two that are swapped or one that is missing; other methods exist. */
function methodSuspicion(method: string): NameFault | undefined {
  if (!isToken(method) || method.includes("*") || usualMethods.includes(method.toUpperCase())) return undefined;
  const meant = nearest(method, usualMethods);
  if (meant === undefined || Math.abs(meant.length - method.length) > 1) return undefined;
  return {
    message: `"${method}" is no usual method: did you mean "${meant}"?`,
    fix: `Write ${meant}, if it is meant.`,
  };
}

const hostSuspicion = (host: string): NameFault | undefined =>
  /^[^:]*\.[^:]*:\d+$/.test(host)
    ? {
        message: `The host "${host}" has a port, and is not taken for a host that a Gateway offers`,
        fix: "Write the host alone; ports are listed in to.ports.",
      }
    : undefined;

const suspicious = [
  { fields: ["paths", "notPaths"], suspicionOf: pathSuspicion },
  { fields: ["methods", "notMethods"], suspicionOf: methodSuspicion },
  { fields: ["hosts", "notHosts"], suspicionOf: hostSuspicion },
] as const;

/** An entry about no request would always be kept. */
function* emptyFaults(entry: Entry, at: Path, work: Work): Generator<IntentFault, undefined> {
  if (requestsOf(entry, [], work) !== undefined) return;
  yield {
    at,
    message: "No request meets all conditions of the entry, so it expects nothing",
    fix: "Remove a condition that excludes what another one requires.",
  };
}
