import { expectations, mostEntries } from "../mesh/intents/intents.ts";
import { callerWords } from "../mesh/requests/caller-names.ts";
import { choice, type JsonSchema, labels, list, names, record, text, titles } from "./json-schema.ts";
import { document } from "./schema.ts";

const port: JsonSchema = { type: "integer", minimum: 1, maximum: 65535, description: "The number of a port." };

/** More are a mistake or an attack: entries are compared with each other. */
const most = { items: mostEntries, values: 100, characters: 1024 } as const;

const several = (items: JsonSchema, description: string, maxItems: number = most.values): JsonSchema => ({
  ...list(items, description),
  maxItems,
});
const pattern = (description: string): JsonSchema => ({ ...text(description), maxLength: most.characters });

const host = pattern("A host, such as shop.example or *.example.");
const principal = pattern("A token, such as https://issuer.example/*.");
const address = pattern("An address or a CIDR block, such as 10.0.0.0/8.");

const to: JsonSchema = record(
  "What the requests are sent to: exactly one of service, host, workloads and namespaces.",
  {
    service: text("The name of a Service in the namespace of this intent.", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    host: pattern(
      "A host that is no Service of this cluster, such as api.stripe.com: one outside the mesh, or one that a ServiceEntry defines.",
    ),
    workloads: {
      ...labels,
      description:
        "Labels of pods in the namespace of this intent, to which requests are sent by their own addresses. All of them must match.",
    },
    namespaces: record(
      "Every workload of these namespaces, in an intent of Istio's root namespace only. If both names and labels are set, both must match.",
      { names: names("Names of namespaces"), labels },
    ),
    ports: several(
      port,
      "The ports of the Service, of the host, or those of the pods, by their numbers. Default: every port; for a host, those of its ServiceEntries.",
      most.items,
    ),
  },
);

const caller: JsonSchema = {
  ...pattern("Who sends the requests."),
  anyOf: [
    { type: "string", enum: callerWords, title: titles.caller },
    { type: "string", pattern: "^[A-Za-z]+/[^/\\s]+(/[^/\\s]+)?$" },
  ],
};

const request: JsonSchema = record(
  "Requests, and what is expected of all of them. Conditions that are not set do not limit them.",
  {
    from: several(
      caller,
      "Who sends the requests: serviceaccount/NAMESPACE/NAME, namespace/NAME, deployment/NAMESPACE/NAME and other workloads, ingress or ingress/NAMESPACE/NAME for gateways, mesh for everybody with a certificate of the mesh, outside for somebody without one, and others for everybody whom no other entry about the same (allowed and denied, encrypted, routed) names.",
      most.items,
    ),
    methods: several(pattern("A method, such as GET."), "Methods of the requests, as in an AuthorizationPolicy."),
    notMethods: several(pattern("A method, such as GET."), "Methods that the requests do not have."),
    paths: several(
      pattern("A path, such as /payments, /payments/* or /payments/{*}/refund."),
      "Paths of the requests, with the patterns of an AuthorizationPolicy.",
    ),
    notPaths: several(pattern("A path, or a pattern."), "Paths that the requests do not have."),
    headers: {
      type: "object",
      minProperties: 1,
      maxProperties: 16,
      additionalProperties: several(
        pattern("A value, or a pattern such as * or admin*."),
        "Values of the header, with the patterns of an AuthorizationPolicy. One match is enough.",
      ),
      description: "Headers of the requests, by their names in lower case. All of them must match.",
    },
    hosts: several(host, "Hosts of the requests, as clients send them; `*` at the start or the end."),
    notHosts: several(host, "Hosts that the requests do not have."),
    requestPrincipals: several(
      principal,
      "Tokens of the requests, as in an AuthorizationPolicy: issuer/subject, or `*` for any token.",
    ),
    notRequestPrincipals: several(principal, "Tokens that the requests do not have. `*`: they have no token."),
    claims: {
      type: "object",
      minProperties: 1,
      maxProperties: 16,
      additionalProperties: several(
        pattern("A value, or a pattern such as admin*."),
        "Values of the claim, with the patterns of an AuthorizationPolicy. One match is enough.",
      ),
      description:
        "Claims of the token of the requests, by their names; one in another claim is `[realm_access][roles]`. All of them must match.",
    },
    ipBlocks: several(address, "Addresses of the client, as the server sees it."),
    notIpBlocks: several(address, "Addresses that the client does not have."),
    remoteIpBlocks: several(address, "Addresses of the original client, as X-Forwarded-For tells the server."),
    notRemoteIpBlocks: several(address, "Addresses that the original client does not have."),
    expect: choice(
      expectations,
      "allowed: the requests are accepted and reach workloads, or leave the mesh for their host; denied: none of them does; encrypted: none of them is sent in plaintext; routed: they reach only these destinations.",
    ),
    destinations: several(
      record("A destination of the requests.", {
        service: text(
          "The name of a Service in this namespace, one of another namespace as egress.edge, or a host. Default: the service or the host of this intent.",
        ),
        subset: text("A subset that a DestinationRule defines. Default: every pod of the service."),
        atLeast: {
          type: "integer",
          minimum: 1,
          maximum: 100,
          description: "The smallest share of the requests that this destination gets, in percent.",
        },
      }),
      "With expect: routed: the only destinations of the requests.",
      most.items,
    ),
  },
  ["from", "expect"],
);

/** The fields of a spec: what requests are sent to, and what is expected of them. Tests of policies have them too. */
export const intentFields = {
  to,
  requests: several(request, "Requests to the same target, with what is expected of them.", most.items),
} as const;

/** A MeshwardIntent. What one schema cannot say is checked by the rule intent-invalid. */
export const meshwardIntentSchema = (): JsonSchema => ({
  $schema: "http://json-schema.org/draft-07/schema#",
  ...document({
    kind: "MeshwardIntent",
    description: "States what must become of requests to a service, whatever anybody changes in the mesh.",
    identity: ["name", "namespace"],
    spec: record("The requests and what is expected of them.", intentFields, ["to", "requests"]),
  }),
});
