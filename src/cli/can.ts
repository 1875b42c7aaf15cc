import { Command, Option } from "commander";
import { findCaller, findEntry, findServer, isUrl } from "../explain/asked.ts";
import { answerTo, requestsWith, titleOfAnswer } from "../explain/can.ts";
import type { Box } from "../mesh/authorization/requests/boxes.ts";
import {
  addressFault,
  conditionsOf,
  hostFault,
  pathFault,
  principalFault,
  type WrittenRequests,
} from "../mesh/requests/written-requests.ts";
import type { Caller } from "../mesh/requests/question.ts";
import { type Answer, jsonAnswer, type Verdict } from "../report/answer.ts";
import { textExplanation } from "../report/explanation-text.ts";
import { knowledgeOfMesh } from "../sources/manifests/file-mesh.ts";
import { UsageError } from "../text/usage-error.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import { contextOption, kubeconfigOption } from "./cluster-options.ts";
import { namespaceName } from "./namespace-option.ts";
import { type MeshChangeOptions, meshAfterChange } from "./changed-mesh.ts";
import { clusterDomainOption, type MeshOptions, readMesh } from "./mesh-option.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

export interface CanOptions extends MeshOptions, MeshChangeOptions {
  readonly from: string;
  readonly to: string;
  readonly method?: readonly string[];
  readonly path?: readonly string[];
  readonly host?: readonly string[];
  readonly header?: readonly string[];
  readonly claim?: readonly string[];
  readonly token?: readonly string[];
  readonly sourceIp?: readonly string[];
  readonly remoteIp?: readonly string[];
  readonly namespace: string;
  readonly format: "text" | "json";
}

export function canCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("can")
    .description("ask whether requests from a caller reach a service and are allowed, and see their whole way")
    .requiredOption(
      "--from <caller>",
      "deployment/orders/api, serviceaccount/orders/api, namespace/orders, mesh, outside, ingress",
    )
    .requiredOption(
      "--to <service>",
      "api.payments:8080, service/payments/api:http, deployment/payments/api:8080, https://shop.example.com, or tcp://db.example.com:5432",
    )
    .requiredOption("--mesh <path>", "the mesh; a file or folder of manifests, a capture, or the word cluster")
    .option("--method <method...>", "one of these HTTP methods")
    .option("--path <path...>", "one of these paths, as in an AuthorizationPolicy: /a, /a*, /a/{*}")
    .option("--host <host...>", "one of these hosts, as the client sends them")
    .option("--header <name=value...>", "headers of the requests; several values of one header are alternatives")
    .option("--claim <name=value...>", "claims of the token of the requests")
    .option("--token <issuer/subject...>", "the token of the requests, as in requestPrincipals; * is any token")
    .option("--source-ip <address...>", "addresses or CIDR blocks of the client, as the server sees it")
    .option("--remote-ip <address...>", "the same of the original client, as X-Forwarded-For tells the server")
    .option("--change <file>", "answer as if these manifests were applied; - reads standard input")
    .option("--delete <file>", "answer as if the objects in these manifests were deleted")
    .option("-n, --namespace <name>", "namespace for names that do not name one", namespaceName, "default")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .addOption(clusterDomainOption())
    .addOption(new Option("--format <format>", "output format").choices(["text", "json"]).default("text"))
    .action(async (options: CanOptions) => finish(await can(options, terminal)));
}

const codes: Readonly<Record<Verdict, ExitCode>> = { yes: 0, no: 1, partly: 3, undecided: 3 };

/** Answers one question. Throws a UsageError for words that mean nothing, and for objects that do not exist. */
export async function can(options: CanOptions, terminal: Terminal): Promise<ExitCode> {
  const requests = requestsWith(conditionsOf(writtenIn(options)));
  if (typeof requests === "string") throw new UsageError(requests);
  const reading = { defaultNamespace: options.namespace, knowledge: knowledgeOfMesh };
  const read = await readMesh(options, terminal, reading);
  const after = await meshAfterChange(read.mesh, options, terminal);
  const question = { ...options, requests };
  const answer = answerIn(after ?? read.mesh, question, after && read.mesh);
  if ("problem" in answer) throw new UsageError(answer.problem);
  const before = after === undefined ? undefined : answerIn(read.mesh, question, after);
  terminal.out(printed({ ...answer, ...beforeIt(before) }, options, terminal));
  return codes[answer.verdict];
}

function answerIn(
  read: Mesh,
  { from, to, namespace, requests }: CanOptions & { readonly requests: Box },
  otherSide: Mesh | undefined,
): Answer | { readonly problem: string } {
  const mesh = sideOf(read);
  const caller = findCaller(from, namespace, mesh);
  if ("problem" in caller) return caller;
  const server = isUrl(to) ? findEntry(to) : findServerFor(caller.caller, { to, namespace, otherSide }, mesh);
  if ("problem" in server) return server;
  if (server.target.kind === "entry" && caller.caller.kind !== "outside")
    return {
      problem: `--to: a URL is the host of an ingress gateway, to which requests come with --from outside; for callers in the mesh, use ${server.target.host}:${server.target.port}`,
    };
  return answerTo({ caller: caller.caller, to: server.target, requests }, mesh);
}

/** Before the change, the caller or the server may not have been there. */
function beforeIt(before: Answer | { readonly problem: string } | undefined): Pick<Answer, "before"> {
  if (before === undefined) return { before: null };
  return { before: "problem" in before ? before.problem : before.text };
}

function printed(answer: Answer, { format }: CanOptions, { colour, columns }: Terminal): string {
  if (format === "json") return jsonAnswer(answer);
  const { title, parts, notes, unknown, before } = answer;
  const was = before === null ? [] : [{ key: "before", text: `Before the change: ${before}`, value: before }];
  const lines = [...was, ...parts.map(({ line }) => line), ...notes];
  const target = { kind: "Question", name: title };
  return textExplanation({ target, title: titleOfAnswer(answer), lines, unknown }, { colour, columns });
}

function writtenIn(options: CanOptions): WrittenRequests {
  const of = (field: keyof typeof faults): readonly string[] => options[field] ?? [];
  for (const [field, { option, faultOf }] of Object.entries(faults))
    for (const one of of(field as keyof typeof faults)) checked(option, one, faultOf(one));
  return {
    methods: of("method"),
    paths: of("path"),
    hosts: of("host"),
    requestPrincipals: of("token"),
    ipBlocks: of("sourceIp"),
    remoteIpBlocks: of("remoteIp"),
    hasOnlyTheseHeaders: true,
    headers: pairsOf("--header", options.header),
    claims: pairsOf("--claim", options.claim),
  };
}

function methodFault(text: string): string | undefined {
  if (!/^[A-Za-z*][A-Za-z0-9*_-]*$/.test(text)) return "a method is a word such as GET";
  // As intents have it: a policy for GET is not for a request with the method get.
  const meant = text.toUpperCase();
  return text === meant ? undefined : `methods are compared with their case: write ${meant}`;
}

/** What is wrong with a value of an option. */
const faults = {
  method: { option: "--method", faultOf: methodFault },
  path: { option: "--path", faultOf: pathFault },
  host: { option: "--host", faultOf: hostFault },
  token: { option: "--token", faultOf: principalFault },
  sourceIp: { option: "--source-ip", faultOf: addressFault },
  remoteIp: { option: "--remote-ip", faultOf: addressFault },
} as const;

function checked(option: string, value: string, fault: string | undefined): void {
  if (fault !== undefined) throw new UsageError(`${option} ${JSON.stringify(value)}: ${fault}`);
}

/** `name=value`; values of one name are alternatives. */
function pairsOf(option: string, all: readonly string[] = []): Readonly<Record<string, readonly string[]>> {
  const pairs = new Map<string, string[]>();
  for (const one of all) {
    const at = one.indexOf("=");
    checked(option, one, at > 0 ? undefined : "write name=value");
    const name = one.slice(0, at);
    const known = pairs.get(name);
    if (known === undefined) pairs.set(name, [one.slice(at + 1)]);
    else known.push(one.slice(at + 1));
  }
  return Object.fromEntries(pairs);
}

type ServerName = Pick<CanOptions, "to" | "namespace"> & { readonly otherSide: Mesh | undefined };

/** A name without a namespace is one of the namespace of the options, or else of that of the caller, where DNS looks for it. */
function findServerFor(caller: Caller, { to, namespace, otherSide }: ServerName, mesh: Mesh) {
  const found = findServer(to, namespace, mesh, otherSide);
  if (!("problem" in found && "namespace" in caller)) return found;
  const own = findServer(to, caller.namespace.metadata.name, mesh, otherSide);
  return "problem" in own ? found : own;
}
