import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-check-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

/** A folder with these files. */
function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = join(root, String(folders++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
async function report(argv: readonly string[], input?: string): Promise<{ code: number; report: Report }> {
  const { code, out } = await meshward(["check", ...argv, "--format", "json"], input === undefined ? {} : { input });
  return { code, report: JSON.parse(out) as Report };
}
const rulesOf = ({ findings }: Report, mode?: string) =>
  findings.filter((finding) => mode === undefined || finding.mode === mode).map(({ rule }) => rule);

const virtualService = (
  weights: readonly number[],
  subsets: readonly string[] = [],
) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec:
  hosts: [shop]
  http:
    - route:
${weights
  .map(
    (weight, i) =>
      `        - destination: { host: shop${subsets[i] ? `, subset: ${subsets[i]}` : ""} }\n          weight: ${weight}`,
  )
  .join("\n")}
`;
const destinationRule = (...subsets: string[]) => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: shop, namespace: shop }
spec:
  host: shop
  subsets: [${subsets.map((subset) => `{ name: ${subset}, labels: { version: ${subset} } }`).join(", ")}]
`;
const protect = (namespace: string) => `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: protect }
spec: { protectedNamespaces: { names: [${namespace}] } }
`;
const permissive = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: PERMISSIVE } }
`;

describe("check", () => {
  test("a finding names file, line, column, path, rule and fix, and the exit code is 1", async () => {
    const folder = folderWith({ "a/shop.yaml": `# a comment\n---\n${virtualService([90, 20])}` });
    const { code, report: found } = await report([folder]);
    assert.equal(code, 1);
    const [finding] = found.findings;
    assert.ok(finding);
    assert.equal(finding.file, join(folder, "a/shop.yaml"));
    assert.deepEqual([finding.line, finding.column, finding.path], [9, 7, "spec.http[0].route"]);
    assert.deepEqual(
      [finding.rule, finding.mode, finding.introduced],
      ["virtual-service-weights-not-100", "deny", true],
    );
    assert.match(finding.message, /90 \+ 20 = 110/);
    assert.deepEqual(finding.object, {
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      namespace: "shop",
      name: "shop",
    });
    assert.match(finding.docs, /^https:\/\/.*\/policies\/rules\/virtual-service-weights-not-100\.md$/);
    assert.notEqual(finding.fix, "");
    assert.deepEqual([found.apiVersion, found.kind, found.errors], ["meshward.io/v1alpha1", "Report", []]);
    assert.deepEqual(found.summary, { objects: 1, deny: 1, warn: 0, audit: 0 });
  });

  test("the text says the same", async () => {
    const folder = folderWith({ "shop.yaml": virtualService([90, 20]) });
    const { code, out, error } = await meshward(["check", folder]);
    assert.equal(code, 1);
    assert.match(out, /^ +7:\d+ +deny +VirtualService shop\/shop: .*90 \+ 20 = 110$/m);
    assert.match(out, /^ +fix: Change the weights of the route so that their sum is 100\./m);
    assert.match(out, /1 object checked \(1 VirtualService\): 1 deny, 0 warn/);
    assert.equal(error, "");
  });

  test("names and values that a terminal would obey are printed as text in their line", async () => {
    const hostile = `${virtualService([90, 20]).replace("name: shop", 'name: "shop\\e[2J\\n0 deny"')}---\n"\\e[31m": 1\n---\napiVersion: v1\nkind: "Secret\\r\\e[1A"\n`;
    const { out, error } = await meshward(["check", "-"], { input: hostile });
    assert.match(out, /VirtualService shop\/shop 0 deny: Weights sum to 110/);
    assert.doesNotMatch(out + error, /[^\P{Cc}\n]/u);
    assert.equal(error.split("\n").filter((line) => line !== "" && !line.startsWith("meshward: ")).length, 0);
  });

  test("what is right is quiet, from standard input too", async () => {
    const { code, report: found } = await report(["-"], virtualService([90, 10]));
    assert.deepEqual([code, found.findings, found.summary.objects], [0, [], 1]);
  });

  test("--fail-on decides the exit code", async () => {
    const wrong = folderWith({ "shop.yaml": virtualService([90, 20]) });
    assert.equal((await meshward(["check", wrong, "--fail-on", "never"])).code, 0);
    const missing = folderWith({ "shop.yaml": virtualService([90, 10], ["v1", "v2"]) });
    assert.equal((await meshward(["check", missing])).code, 0);
    assert.equal((await meshward(["check", missing, "--fail-on", "warn"])).code, 1);
  });

  test("a set is complete with care: what is missing warns, what is there and wrong denies", async () => {
    const alone = folderWith({ "shop.yaml": virtualService([90, 10], ["v1", "v2"]) });
    assert.deepEqual(rulesOf((await report([alone])).report, "warn"), [
      "virtual-service-subset-not-found",
      "virtual-service-subset-not-found",
    ]);
    assert.equal((await report([alone, "--complete", "DestinationRule"])).code, 1);
    const lacking = folderWith({
      "shop.yaml": virtualService([90, 10], ["v1", "v2"]),
      "rule.yaml": destinationRule("v1"),
    });
    assert.deepEqual(rulesOf((await report([lacking])).report, "deny"), ["virtual-service-subset-not-found"]);
    const partial = (await report([lacking, "--partial", "destinationrules"])).report;
    assert.deepEqual(rulesOf(partial, "deny"), []);
    assert.deepEqual(rulesOf(partial, "warn"), ["virtual-service-subset-not-found"]);
    const whole = folderWith({
      "shop.yaml": virtualService([90, 10], ["v1", "v2"]),
      "rule.yaml": destinationRule("v1", "v2"),
    });
    assert.deepEqual((await report([whole])).report.findings, []);
  });

  test("with --mesh only what the files introduce denies", async () => {
    const mesh = folderWith({
      "shop.yaml": virtualService([90, 10], ["v1", "v2"]),
      "rule.yaml": destinationRule("v1", "v2"),
    });
    const change = folderWith({ "rule.yaml": destinationRule("v1") });
    const { code, report: found } = await report([change, "--mesh", mesh]);
    assert.equal(code, 1);
    assert.deepEqual(rulesOf(found, "deny"), ["virtual-service-subset-not-found"]);
    assert.equal(found.findings[0]?.file, join(change, "rule.yaml"), "where it can be mended");
    const wrong = folderWith({ "shop.yaml": virtualService([90, 20]) });
    const still = folderWith({ "shop.yaml": virtualService([90, 20]).replace("shop }", "shop, labels: { a: b } }") });
    const existing = await report([still, "--mesh", wrong]);
    assert.equal(existing.code, 0);
    assert.deepEqual(
      existing.report.findings.map(({ mode, introduced }) => [mode, introduced]),
      [["warn", false]],
    );
    const other = folderWith({ "shop.yaml": virtualService([90, 30]) });
    assert.deepEqual(rulesOf((await report([other, "--mesh", wrong])).report, "deny"), [
      "virtual-service-weights-not-100",
    ]);
  });

  test("with --mesh an object keeps its age: applying what is there already introduces nothing", async () => {
    const policy = (name: string, mode: string, metadata = "") =>
      permissive.replace("PERMISSIVE", mode).replace("name: default", `name: ${name}${metadata}`);
    const policies = folderWith({ "protect.yaml": protect("shop") });
    const mesh = folderWith({
      "first.yaml": policy("first", "STRICT", ', creationTimestamp: "2026-01-01T00:00:00Z"'),
      "second.yaml": policy("second", "PERMISSIVE", ', creationTimestamp: "2026-01-02T00:00:00Z"'),
    });
    const again = folderWith({ "first.yaml": policy("first", "STRICT") });
    const { code, report: found } = await report([again, "--mesh", mesh, "--policies", policies]);
    assert.deepEqual([code, found.findings], [0, []]);
  });

  test("rules on changes run with --mesh, and say so without it", async () => {
    const mesh = folderWith({ "strict.yaml": permissive.replace("PERMISSIVE", "STRICT") });
    const change = folderWith({ "change.yaml": permissive.replace("PERMISSIVE", "UNSET") });
    const policies = folderWith({ "policy.yaml": protect("shop") });
    const compared = await report([change, "--mesh", mesh, "--policies", policies]);
    assert.deepEqual(rulesOf(compared.report, "deny"), ["namespace-mtls-weakened"]);
    const alone = await report([change, "--policies", policies]);
    assert.ok(
      alone.report.skipped.some(({ rule, reason }) => rule === "namespace-mtls-weakened" && reason.includes("--mesh")),
    );
  });

  test("a file that says that its object is being deleted hides nothing of it", async () => {
    const deleted = 'name: shop, namespace: shop, deletionTimestamp: "2026-01-01T00:00:00Z"';
    const wrong = virtualService([100], ["v3"]).replace("name: shop, namespace: shop", deleted);
    const files = { "a.yaml": wrong, "b.yaml": destinationRule("v1") };
    assert.deepEqual(rulesOf((await report([folderWith(files)])).report, "deny"), ["virtual-service-subset-not-found"]);

    const namespace = (more: string) => `apiVersion: v1\nkind: Namespace\nmetadata: { name: shop${more} }\n`;
    const going = ', deletionTimestamp: "2026-01-01T00:00:00Z", labels: { istio-injection: enabled }';
    const policies = folderWith({ "policy.yaml": protect("shop") });
    for (const text of [namespace(going), `${namespace("")}status: { phase: Terminating }\n`]) {
      const { report: found } = await report([folderWith({ "a.yaml": text }), "--policies", policies]);
      assert.ok(rulesOf(found).includes("namespace-default-deny-missing"), text);
    }
  });

  test("servers that cannot be beside each other are found where no Service is among the files", async () => {
    const server = (name: string) =>
      `{ port: { number: 443, name: ${name}, protocol: HTTPS }, hosts: [a.com], tls: { mode: SIMPLE, credentialName: ${name} } }`;
    const gateway = `apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: shop }\nspec: { selector: { app: g }, servers: [${server("one")}, ${server("two")}] }\n`;
    const ofApi =
      "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: k, namespace: shop }\nspec: { gatewayClassName: istio, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n";
    const { report: found } = await report([folderWith({ "a.yaml": gateway, "b.yaml": ofApi })]);
    assert.ok(rulesOf(found, "warn").includes("gateway-conflict"));
    assert.equal(found.basis.objects.Gateway, 2);
  });

  test("policies and profiles decide the mode", async () => {
    const folder = folderWith({ "shop.yaml": permissive });
    assert.deepEqual((await report([folder])).report.findings, []);
    const policies = folderWith({ "policy.yaml": protect("shop") });
    assert.deepEqual(rulesOf((await report([folder, "--policies", policies])).report, "deny"), [
      "peer-authentication-permissive",
    ]);
    const observed = await report([folder, "--policies", policies, "--profile", "observe"]);
    assert.deepEqual([observed.code, observed.report.summary.deny, observed.report.summary.warn], [0, 0, 0]);
    assert.ok(rulesOf(observed.report, "audit").includes("peer-authentication-permissive"));
  });

  test("an exception accepts a finding until its day, and is named", async () => {
    const exception = (until: string) => `apiVersion: meshward.io/v1alpha1
kind: MeshwardException
metadata: { name: legacy, namespace: shop }
spec: { rules: [peer-authentication-permissive], reason: an old client, owner: shop team, expiresAt: "${until}" }
`;
    const folder = folderWith({ "shop.yaml": permissive });
    const accepted = folderWith({ "p.yaml": protect("shop"), "e.yaml": exception("2999-01-01T00:00:00Z") });
    const { code, report: found } = await report([folder, "--policies", accepted]);
    assert.deepEqual([code, rulesOf(found, "deny")], [0, []]);
    assert.deepEqual(
      found.accepted.map(({ rule, mode, exception: by }) => [rule, mode, by.namespace, by.name, by.reason, by.owner]),
      [
        ["namespace-mtls-not-strict", "warn", "shop", "legacy", "an old client", "shop team"],
        ["peer-authentication-permissive", "deny", "shop", "legacy", "an old client", "shop team"],
      ],
    );
    const { out } = await meshward(["check", folder, "--policies", accepted]);
    assert.match(out, /^accepted: peer-authentication-permissive \(MeshwardException shop\/legacy accepts/m);
    const expired = folderWith({ "p.yaml": protect("shop"), "e.yaml": exception("2020-01-01T00:00:00Z") });
    assert.equal((await report([folder, "--policies", expired])).code, 1);
  });

  test("what cannot be read is named with its line, the rest is judged, and the exit code is 2", async () => {
    const folder = folderWith({
      "good.yaml": virtualService([90, 20]),
      "bad.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  name: b\n",
      "tabs.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n\tname: a\n",
    });
    const { code, report: found } = await report([folder]);
    assert.equal(code, 2);
    assert.deepEqual(rulesOf(found), ["virtual-service-weights-not-100"]);
    assert.deepEqual(found.errors.map(({ file, line }) => `${file}:${line}`).sort(), [
      `${join(folder, "bad.yaml")}:5`,
      `${join(folder, "tabs.yaml")}:4`,
    ]);
    const { error } = await meshward(["check", folder]);
    assert.match(error, /bad\.yaml:5:/);
  });

  test("a billion laughs end in an error at once", async () => {
    const laughs = [
      "a: &a [x,x,x,x,x,x,x,x,x]",
      ..."bcdefghij".split("").map((name, i) => {
        const before = "abcdefghij"[i];
        return `${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(",")}]`;
      }),
    ];
    const folder = folderWith({ "bomb.yaml": `apiVersion: v1\nkind: Service\n${laughs.join("\n")}\n` });
    const { code, report: found } = await report([folder]);
    assert.equal(code, 2);
    assert.equal(found.errors.length, 1);
  });

  test("a document of a policy that is not sound is an error, in --policies and among the files", async () => {
    const wrong = protect("shop").replace(
      "spec: {",
      "spec: { rules: [{ id: virtual-service-weight-not-100, mode: warn }],",
    );
    const policies = folderWith({ "policy.yaml": wrong });
    const folder = folderWith({ "shop.yaml": virtualService([90, 10]) });
    for (const argv of [
      [folder, "--policies", policies],
      [policies, folder],
      // Once, although the file is read for both.
      [policies, folder, "--policies", policies],
    ]) {
      const { code, report: found } = await report(argv);
      assert.equal(code, 2);
      assert.equal(found.errors.length, 1);
      assert.match(found.errors[0]?.message ?? "", /did you mean "virtual-service-weights-not-100"\?/);
    }
  });

  test("an object that stands twice is judged twice, and the later one counts", async () => {
    const folder = folderWith({ "a.yaml": virtualService([90, 20]), "b.yaml": virtualService([90, 10]) });
    const { code, report: found } = await report([folder]);
    assert.equal(code, 1);
    assert.deepEqual(
      found.findings.map(({ file }) => file),
      [join(folder, "a.yaml")],
    );
    assert.match(
      (await meshward(["check", folder])).error,
      /^meshward: note: VirtualService shop\/shop in .*a\.yaml:1 is replaced by .*b\.yaml:1/,
    );
  });

  test("environments side by side are judged each for itself, whichever comes last", async () => {
    const production = {
      "rule.yaml": destinationRule("v1", "v2"),
      "shop.yaml": virtualService([90, 10], ["v1", "v2"]),
    };
    const development = { "rule.yaml": destinationRule("v1"), "net/shop.yaml": virtualService([100], ["v1"]) };
    const inFolders = (folders: Readonly<Record<string, Readonly<Record<string, string>>>>) =>
      folderWith(
        Object.fromEntries(
          Object.entries(folders).flatMap(([folder, files]) =>
            Object.entries(files).map(([name, text]) => [`${folder}/${name}`, text]),
          ),
        ),
      );
    for (const folder of [
      inFolders({ dev: development, prod: production }),
      inFolders({ "1-prod": production, "2-dev": development }),
      folderWith({
        "1-prod.yaml": Object.values(production).join("---\n"),
        "2-dev.yaml": Object.values(development).join("---\n"),
      }),
    ])
      assert.deepEqual((await report([folder])).report.findings, []);
    const wrong = { ...production, "rule.yaml": destinationRule("v1") };
    for (const folders of [
      { "1-wrong": wrong, "2-dev": development, "3-prod": production },
      { "1-prod": production, "2-wrong": wrong, "3-dev": development },
    ]) {
      const folder = inFolders(folders);
      const { code, report: found } = await report([folder]);
      assert.equal(code, 1);
      const wrongFolder = Object.keys(folders).find((name) => name.endsWith("wrong")) ?? "";
      assert.deepEqual(
        found.findings.map(({ rule, file }) => [rule, file]),
        [["virtual-service-subset-not-found", join(folder, wrongFolder, "shop.yaml")]],
      );
    }
  });

  test("what is wrong in an environment with what stands beside all of them is found", async () => {
    const folder = folderWith({
      "base/rule.yaml": destinationRule("v1"),
      "dev/shop.yaml": virtualService([100], ["v1"]),
      "prod/shop.yaml": virtualService([90, 10], ["v1", "v2"]),
      "test/shop.yaml": virtualService([50, 50], ["v1", "v2"]),
    });
    assert.deepEqual(
      (await report([folder])).report.findings.map(({ file }) => file),
      ["prod/shop.yaml", "test/shop.yaml"].map((file) => join(folder, file)),
    );
  });

  test("--cluster-domain decides which service a short host means", async () => {
    const folder = folderWith({
      "rule.yaml": destinationRule("v1").replace("host: shop", "host: shop.shop.svc.corp.example"),
      "shop.yaml": virtualService([90, 10], ["v1", "v2"]),
    });
    const found = async (...options: string[]) =>
      (await report([folder, ...options])).report.findings.map(({ mode, message }) => `${mode} ${message}`);
    assert.equal((await found()).length, 2);
    const missing =
      'Subset "v2" of "shop.shop.svc.corp.example" does not exist: DestinationRule shop/shop defines "v1"';
    assert.deepEqual(await found("--cluster-domain", "corp.example"), [`deny ${missing}`]);
    assert.deepEqual(await found("--cluster-domain", "corp.example", "--mesh", folder), [`warn ${missing}`]);
    for (const domain of ["corp..example", "Corp.example"]) {
      const wrong = await meshward(["check", folder, "--cluster-domain", domain]);
      assert.equal(wrong.code, 2);
      assert.match(wrong.error, /expected a domain in lower case, such as cluster\.local/);
    }
  });

  test("--output writes the report to a file", async () => {
    const folder = folderWith({ "shop.yaml": virtualService([90, 20]) });
    const file = join(root, "report.json");
    const { code, out } = await meshward(["check", folder, "--format", "json", "--output", file]);
    assert.deepEqual([code, out], [1, ""]);
    assert.equal((JSON.parse(readFileSync(file, "utf8")) as Report).summary.deny, 1);
    const unwritable = await meshward(["check", folder, "--output", join(root, "no/such/folder/r")]);
    assert.equal(unwritable.code, 2);
    assert.match(
      unwritable.error,
      /--output .* cannot be written: its folder does not exist: create it, or correct the path\n$/,
    );
  });

  for (const [name, argv, says] of [
    ["an unknown kind", ["check", ".", "--complete", "VirtualServise"], /did you mean "VirtualService"\?\n/],
    ["an unknown profile", ["check", "-", "--profile", "strickt"], /did you mean "strict"\?/],
    ["an unknown format", ["check", "-", "--format", "xml"], /Allowed choices are text, json/],
    ["no path", ["check"], /missing required argument 'path'/],
    ["a path that is not there", ["check", join(root, "none")], /there is no such file or folder/],
    ["a mesh that is not there", ["check", "-", "--mesh", join(root, "none")], /--mesh .* cannot be read completely/],
  ] as const)
    test(`${name}: one line that says what to do, exit 2`, async () => {
      const { code, error } = await meshward(argv);
      assert.equal(code, 2);
      assert.match(error, says);
      assert.doesNotMatch(error, /defect/);
    });

  test("where nothing was judged, no rule is said to be skipped", async () => {
    const { code, out } = await meshward(["check", join(root, "none")]);
    assert.deepEqual([code, out], [2, "0 objects checked: 0 deny, 0 warn; 1 error\n"]);
  });
});

describe("hosts that the files do not show", () => {
  const set = (host: string, port = 80) => `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: v1
kind: Service
metadata: { name: cart, namespace: shop }
spec: { ports: [{ port: 80 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, namespace: shop }
spec: { hosts: [cart], http: [{ route: [{ destination: { host: ${host}, port: { number: ${port} } } }] }] }
`;
  const rule = "virtual-service-destination-not-found";
  const own = ({ findings }: Report) => findings.filter((finding) => finding.rule === rule);

  test("one that is spelt almost as a Service in them is reported, with the Service", async () => {
    const { code, report: found } = await report(["-"], set("catr"));
    assert.equal(code, 0);
    assert.deepEqual(
      own(found).map(({ mode, line, fix }) => [mode, line, fix]),
      [["warn", 13, 'Did you mean "cart.shop.svc.cluster.local"?']],
    );
  });

  for (const [host, fix] of [
    [
      "cart.shp.svc.cluster.local",
      'Write the host of the Service that exists. Did you mean "cart.shop.svc.cluster.local"?',
    ],
    [
      "cart.shop",
      'Write the full name: Istio completes only names without a dot. Did you mean "cart.shop.svc.cluster.local"?',
    ],
  ] as const)
    test(`${host}: the Service is there, with another name`, async () => {
      const [only, ...others] = own((await report(["-"], set(host))).report);
      assert.deepEqual([only?.mode, only?.fix, others], ["warn", fix, []]);
    });

  test("one mistake in it is one warning, with and without a subset and whatever namespace was meant", async () => {
    const files = `apiVersion: v1
kind: Namespace
metadata: { name: shops }
---
${set("cart.shops, subset: v1")}`;
    const { findings } = (await report(["-"], files)).report;
    const about = findings.filter(({ rule: by }) => by.startsWith("virtual-service-"));
    assert.deepEqual(
      about.map(({ mode, rule: by }) => [mode, by]),
      [["warn", "virtual-service-subset-not-found"]],
    );
    assert.match(about[0]?.message ?? "", /"cart\.shops" names no Service and no ServiceEntry/);
    assert.match(about[0]?.fix ?? "", /Did you mean "cart\.shop\.svc\.cluster\.local"\?/);
  });

  test("in a change of a mesh that is known in part, nothing is said of it", async () => {
    const mesh = folderWith({ "a.yaml": set("cart") });
    for (const partial of [[], ["--partial", "Service"]]) {
      const found = (await report(["-", "--mesh", mesh, ...partial], set("ledger"))).report;
      assert.equal(own(found).length, partial.length === 0 ? 1 : 0);
    }
  });

  test("and a port that a Service in them does not have", async () => {
    const [only] = own((await report(["-"], set("cart", 8080))).report);
    assert.match(only?.message ?? "", /"cart\.shop\.svc\.cluster\.local" has no port 8080/);
  });

  for (const host of ["ledger", "pay.bank.svc.cluster.local", "api.example.com"])
    test(`${host} may exist elsewhere: the rule is named as one that was not asked`, async () => {
      const { report: found } = await report(["-"], set(host));
      assert.deepEqual(own(found), []);
      const reasons = found.skipped.filter((skip) => skip.rule === rule).map(({ reason }) => reason);
      assert.deepEqual(reasons, ["the files do not show all Services and ServiceEntries"]);
    });

  for (const [existing, host] of [
    ["cart-v1", "cart-v2"],
    ["cart-eu", "cart-us"],
    ["web", "wep"],
    ["cart", "cart.shop.example.com"],
    ["cart", "cart.shop2.svc.cluster.local"],
  ] as const)
    test(`${host} may exist beside the Service ${existing}`, async () => {
      const { report: found } = await report(["-"], set(host).replace("name: cart,", `name: ${existing},`));
      assert.deepEqual(own(found), []);
    });

  test("the same of DestinationRules and of Sidecars", async () => {
    const { report: found } = await report(
      ["-"],
      `${set("cart")}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ledger, namespace: shop }
spec: { host: ledger }
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: default, namespace: shop }
spec: { egress: [{ hosts: [./ledger.shop.svc.cluster.local] }] }
`,
    );
    const reason = "the files do not show all Services and ServiceEntries";
    for (const id of ["destination-rule-never-used", "sidecar-host-not-found"])
      assert.ok(
        found.skipped.some((skip) => skip.rule === id && skip.reason === reason),
        id,
      );
  });
});

test("whether ztunnel captures all workloads that an object selects is a guess of files", async () => {
  const { report: found } = await report(
    ["-"],
    `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cart, namespace: shop }
spec:
  selector: { matchLabels: { app: cart } }
  template: { metadata: { labels: { app: cart } }, spec: { containers: [{ name: cart, image: cart }] } }
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: cart, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, accessLogging: [{ disabled: true }] }
`,
  );
  const rule = "selector-reaches-only-ztunnel";
  assert.deepEqual(
    found.findings.filter((finding) => finding.rule === rule),
    [],
  );
  const reasons = found.skipped.filter((skip) => skip.rule === rule).map(({ reason }) => reason);
  assert.deepEqual(reasons, ["the files do not show all workloads of namespace shop"]);
});
