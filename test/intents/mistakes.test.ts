import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { formatPath } from "../../src/kube/field-path.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { intents, world } from "./bank.ts";
import { objectsIn, type Raw } from "./story.ts";

// What somebody writes who knows Kubernetes and Istio, and not the words of intents. Each document is answered with the place, with what
// was found there, and with what to write instead.

const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};
const objects = [...world, ...intents].map(read);
const bank = new MeshStore(meshSettingsOf(objects));
for (const object of objects) bank.set(object);
const ofDocuments = rules.filter(({ id }) => id === "intent-invalid" || id === "object-malformed");

/** What is said of an intent with this spec: `place: message => what to do`, with a question mark if it only warns. */
function said(spec: string, namespace: string): readonly string[] {
  const metadata = `{ name: wrong, namespace: ${namespace} }`;
  const [raw] = objectsIn(
    `{ apiVersion: meshward.io/v1alpha1, kind: MeshwardIntent, metadata: ${metadata}, spec: ${spec} }`,
  );
  const { findings, errors } = judge(ofDocuments, bank, [{ old: undefined, object: read(raw ?? {}) }]);
  assert.deepEqual(errors, []);
  return findings.map(({ at, message, fix, rule, onlyWarns }) => {
    const place = formatPath(at).replace(/^spec\./, "");
    return `${onlyWarns === undefined ? "" : "? "}${place}: ${message} => ${fix ?? rule.fix}`;
  });
}

/** Entries of an intent about the Service of accounts. */
const entry = (text: string): string => `{ to: { service: accounts }, requests: [{ ${text} }] }`;
const denied = (text: string): string => entry(`from: [mesh], expect: denied, ${text}`);
const target = (text: string): string => `{ to: { ${text} }, requests: [{ from: [outside], expect: denied }] }`;

type Mistake = readonly [spec: string, says: RegExp, namespace?: string];

const mistakes: Readonly<Record<string, readonly Mistake[]>> = {
  "the name of a Service": [
    [
      target("service: storefront.web"),
      /^to\.service: "storefront.web" is no name .* => Write service: storefront in an intent of namespace web/,
    ],
    [
      target("service: accounts.accounts.svc.cluster.local"),
      /^to\.service: .* => Write service: accounts in an intent of namespace accounts/,
    ],
    [target('service: "accounts:8080"'), /^to\.service: "accounts:8080" is no name .* ports are listed in ports/],
    [target("service: accounts/accounts"), /^to\.service: .* => Write the name alone/],
    [target('service: "*"'), /^to\.service: "\*" is no name of a Service/],
    [target("service: Accounts"), /^to\.service: "Accounts" is no name of a Service/],
    [target('service: ""'), /^to\.service: "" is no name of a Service/],
    [target("service: acounts"), /^\? to\.service: There is no Service "acounts" in accounts: did you mean "accounts"/],
    [target("service: [accounts]"), /^to\.service: The field must be a string, not a list/],
  ],
  hosts: [
    [target('host: "db.bank.internal."'), /^to\.host: .* is no name of one host => .* a dot at the end/],
    [target("host: accounts.accounts.svc"), /^to\.host: .* is the name of a Service => Write service: accounts/],
    [
      target("host: accounts"),
      /^\? to: No ServiceEntry defines host accounts, .*Service accounts of this namespace is named by service/,
    ],
    [target('host: "https://api.stripe.com/v1"'), /^to\.host: "https:.* is no name of one host => .* without a scheme/],
  ],
  "workloads, namespaces and ports": [
    [
      target("workloads: { app: accounts }, ports: [9999]"),
      /^\? to\.ports\[0\]: No container .* lists port 9999; they list 8080/,
    ],
    [
      target("workloads: { matchLabels: { app: accounts } }"),
      /^to\.workloads\.matchLabels: The field must be a string, not an object/,
    ],
    [target("workloads: { app: nosuch }"), /^\? to\.workloads: No workload in accounts has the labels app: nosuch/],
    [
      target("service: accounts, ports: [9999]"),
      /^\? to\.ports\[0\]: Service accounts has no port 9999; its ports are 8080/,
    ],
    [target('service: accounts, ports: ["8080"]'), /^to\.ports\[0\]: .* => Write 8080 without quotes/],
    [
      target("namespaces: { labels: { tier: none } }"),
      /^\? to\.namespaces\.labels: No namespace has the labels tier: none/,
      "istio-system",
    ],
    [
      target("namespaces: { names: [accuonts] }"),
      /^\? to\.namespaces\.names\[0\]: There is no namespace "accuonts": did you mean "accounts"/,
      "istio-system",
    ],
    [
      target('namespaces: { names: ["ledg*", web], labels: { tier: none } }'),
      /^\? to\.namespaces\.labels: No namespace has the labels tier: none and one of the names ledg\*, web/,
      "istio-system",
    ],
    [
      target("namespaces: { matchLabels: { tier: restricted } }"),
      /^to\.namespaces: The intent selects no namespace/,
      "istio-system",
    ],
  ],
  callers: [
    [
      entry("from: [cluster.local/ns/web/sa/storefront], expect: denied"),
      /^requests\[0\]\.from\[0\]: .* is no caller: did you mean "serviceaccount\/web\/storefront"/,
    ],
    [
      entry('from: ["spiffe://other.domain/ns/web/sa/storefront"], expect: denied'),
      /did you mean "serviceaccount\/web\/storefront"/,
    ],
    [
      entry('from: ["namespace/*"], expect: denied'),
      /^requests\[0\]\.from\[0\]: .* names of callers have no \* => .* mesh for everybody/,
    ],
    [entry('from: ["*"], expect: denied'), /^requests\[0\]\.from\[0\]: "\*" is no caller/],
    [entry("from: [10.0.0.0/8], expect: denied"), /^requests\[0\]\.from\[0\]: "10\.0\.0\.0\/8" is no caller/],
    [entry("from: [], expect: denied"), /^requests\[0\]\.from: The entry names no caller => Write serviceaccount/],
    [
      entry("from: [others], expect: denied"),
      /^requests\[0\]\.from\[0\]: No other entry about the same names a caller/,
    ],
  ],
  expectations: [
    [entry("from: [mesh]"), /^requests\[0\]\.expect: The entry expects nothing => Write one of allowed, denied/],
    [
      entry("from: [mesh], expect: Denied"),
      /^requests\[0\]\.expect: "Denied" is nothing to expect: did you mean "denied"/,
    ],
    [entry("from: [mesh], expect: mtls"), /^requests\[0\]\.expect: "mtls" is nothing to expect => Write one of/],
    ["{ to: { service: accounts }, requests: [] }", /^requests: The intent has no requests, .* => List entries/],
    [
      "{ to: { service: accounts }, requests: [{ from: [namespace/web], expect: routed, destinations: [{ subset: a }] }, { from: [mesh], methods: [GET], expect: routed, destinations: [{ subset: b }] }] }",
      /^requests\[1\]: The entry contradicts another one .*subset a only.*both claim GET/,
    ],
    [
      entry("from: [mesh], expect: routed, destinations: [{ subset: a, atLeast: -1 }]"),
      /^requests\[0\]\.destinations\[0\]\.atLeast: -1 is no share => Write percentages/,
    ],
    [
      entry("from: [mesh], expect: routed, destinations: [{ subset: a, atLeast: 101 }]"),
      /^requests\[0\]\.destinations: The smallest shares .* => Write percentages/,
    ],
  ],
  "methods and paths": [
    [denied('methods: ["GET,POST"]'), /^requests\[0\]\.methods\[0\]: .* a method is one word/],
    [denied("methods: [GTE]"), /^\? requests\[0\]\.methods\[0\]: "GTE" is no usual method: did you mean "GET"/],
    [
      denied('paths: ["/a/.*"]'),
      /^\? requests\[0\]\.paths\[0\]: .* looks like a regular expression, and is compared as text => Write \/x\/\*/,
    ],
    [denied('paths: ["/a/[0-9]+"]'), /^\? requests\[0\]\.paths\[0\]: .* looks like a regular expression/],
    [denied('paths: ["/a/**"]'), /^requests\[0\]\.paths\[0\]: .* stands for itself/],
    [
      denied('paths: ["/a/:id"]'),
      /^\? requests\[0\]\.paths\[0\]: .* a segment that starts with a colon, .* => Write \{\*\}/,
    ],
    [denied('paths: ["/a b"]'), /^requests\[0\]\.paths\[0\]: .* a path has no spaces/],
    [denied('notPaths: ["/a/../b"]'), /^\? requests\[0\]\.notPaths\[0\]: .* a segment of dots/],
    [denied('paths: ["/a"], notPaths: ["/*"]'), /^requests\[0\]: No request meets all conditions of the entry/],
  ],
  "hosts, headers, claims and tokens": [
    [denied('hosts: ["bank.*.com"]'), /^requests\[0\]\.hosts\[0\]: .* a \* is possible at one end only/],
    [
      denied('hosts: ["bank.example.com:443"]'),
      /^\? requests\[0\]\.hosts\[0\]: .* has a port, .* => Write the host alone/,
    ],
    [denied('headers: { "x team": [a] }'), /^requests\[0\]\.headers\["x team"\]: "x team" is no name of a header/],
    [denied('headers: { ":path": [/a] }'), /^requests\[0\]\.headers\[":path"\]: .* => Write paths, methods or hosts/],
    [
      denied('headers: { "request.headers[x-a]": [a] }'),
      /^requests\[0\]\.headers.*is no name of a header => Write the name alone: x-a/,
    ],
    [denied("headers: { x-team: [] }"), /^requests\[0\]\.headers\.x-team: "x-team" has no values/],
    [denied("headers: { x-team: web }"), /^requests\[0\]\.headers\.x-team: The field must be a list/],
    [denied('claims: { "request.auth.claims[role]": [a] }'), /^requests\[0\]\.claims.* => Write the name alone: role/],
    [denied("claims: { iss: [a] }"), /^\? requests\[0\]\.claims\.iss: .* => Write requestPrincipals/],
    [
      denied('requestPrincipals: ["https://issuer.example"]'),
      /^requests\[0\]\.requestPrincipals\[0\]: .* a token is written as issuer\/subject/,
    ],
    [denied('ipBlocks: ["10.0.0.1-10.0.0.9"]'), /^requests\[0\]\.ipBlocks\[0\]: .* give an address such as/],
  ],
};

for (const [kind, all] of Object.entries(mistakes))
  describe(kind, () => {
    for (const [spec, says, namespace = "accounts"] of all)
      test(spec, () => {
        const found = said(spec, namespace);
        assert.equal(found.length, 1, found.join("\n"));
        assert.match(found[0] ?? "", says);
      });
  });

test("what is meant is not suspected", () => {
  const spec = `{
    to: { service: accounts, ports: [8080] },
    requests: [{
      from: [serviceaccount/web/storefront, deployment/web/storefront, ingress], expect: denied,
      methods: [PROPFIND, GET, PURGE], paths: ["/a.b/*", "/.well-known/{**}", "/a:b", "/v1/c+d", "*.js"],
      hosts: ["*.example.com", "accounts:8080", "shop.*"], headers: { X-Team: ["*"], x_under: [a] },
      claims: { role: [a], "[realm][roles]": [b] }, requestPrincipals: ["https://issuer.example/*", "*"]
    }]
  }`;
  assert.deepEqual(said(spec, "accounts"), []);
});

test("long values are shortened in messages", () => {
  const long = `/${"{*}/".repeat(250)}x`;
  const spec = `{ to: { service: accounts }, requests: [{ from: [mesh], paths: ["${long}"], expect: denied }, { from: [mesh], expect: allowed }] }`;
  const [found = ""] = said(spec, "accounts");
  assert.match(found, /contradicts another one/);
  assert.ok(found.length < 1800, String(found.length));
});
