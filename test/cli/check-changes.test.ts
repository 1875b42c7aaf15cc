import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

// Files as a change to a mesh: what they delete, too.

const root = mkdtempSync(join(realpathSync(tmpdir()), "meshward-changes-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

type Files = Readonly<Record<string, string>>;
function write(folder: string, files: Files): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}
function folderWith(files: Files): string {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  write(folder, files);
  return folder;
}

const namespace = `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio-injection: enabled, meshward.io/protected: "true" } }
`;
const strict = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
`;
const denyAll = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-all, namespace: shop }
spec: {}
`;
const virtualService = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, namespace: shop }
spec: { hosts: [cart], http: [{ route: [{ destination: { host: cart, subset: v1 } }] }] }
`;
const destinationRule = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart, namespace: shop }
spec: { host: cart, subsets: [{ name: v1, labels: { version: v1 } }] }
`;
const kept: Files = { "namespace.yaml": namespace, "routes.yaml": virtualService };
const all: Files = { ...kept, "subsets.yaml": destinationRule, "security.yaml": `${strict}---\n${denyAll}` };

async function report(...argv: readonly string[]): Promise<{ code: number; report: Report; error: string }> {
  const { code, out, error } = await meshward(["check", ...argv, "--format", "json"]);
  return { code, report: JSON.parse(out) as Report, error };
}
const denied = ({ findings }: Report): readonly string[] =>
  findings.filter(({ mode }) => mode === "deny").map(({ rule }) => rule);
const threeLosses = ["namespace-default-deny-removed", "namespace-mtls-weakened", "virtual-service-subset-not-found"];

describe("deletions", () => {
  test("--prune: what the files no longer define is deleted, and each loss is at its own file", async () => {
    const [base, head] = [folderWith(all), folderWith(kept)];
    assert.deepEqual(denied((await report(head, "--mesh", base)).report), []);
    const { code, report: found } = await report(head, "--mesh", base, "--prune");
    assert.equal(code, 1);
    assert.deepEqual([...denied(found)].sort(), threeLosses);
    assert.deepEqual(found.findings.map(({ rule, file, line }) => `${rule} ${file}:${line}`).sort(), [
      `namespace-default-deny-removed ${join(base, "security.yaml")}:6`,
      `namespace-mtls-weakened ${join(base, "security.yaml")}:1`,
      `virtual-service-subset-not-found ${join(head, "routes.yaml")}:4`,
    ]);
    assert.equal(found.summary.objects, 5);
  });

  test("--prune: files that move delete nothing", async () => {
    const head = folderWith({ "one.yaml": Object.values(all).join("---\n") });
    const { code, report: found } = await report(head, "--mesh", folderWith(all), "--prune");
    assert.deepEqual([code, denied(found)], [0, []]);
  });

  test("--prune: an object under another name loses nothing, and only what is worse about it is new, as for the webhook", async () => {
    const renamed = (name: string, mode: string) => ({
      ...all,
      "security.yaml": `${strict.replace(/mode: \w+/, `mode: ${mode}`).replace(/name: \w+/, `name: ${name}`)}---\n${denyAll.replace("name: deny-all", `name: ${name}`)}`,
    });
    const harmless = await report(
      folderWith(renamed("b", "STRICT")),
      "--mesh",
      folderWith(renamed("a", "STRICT")),
      "--prune",
    );
    assert.deepEqual([harmless.code, denied(harmless.report)], [0, []]);
    const [base, head] = [folderWith(renamed("a", "PERMISSIVE")), folderWith(renamed("b", "PERMISSIVE"))];
    const kept = await report(base, "--mesh", base, "--prune");
    assert.deepEqual(denied(kept.report), []);
    assert.deepEqual(denied((await report(head, "--mesh", base, "--prune")).report), []);
    assert.deepEqual(denied((await report(head, "--mesh", base)).report), []);
    const worse = folderWith(renamed("b", "DISABLE"));
    const faulty = ["namespace-mtls-weakened", "peer-authentication-permissive"];
    assert.deepEqual(denied((await report(worse, "--mesh", base, "--prune")).report), faulty);
  });

  test("--delete: the objects of these manifests are deleted", async () => {
    const [base, head] = [folderWith(all), folderWith(kept)];
    const { report: found } = await report(head, "--mesh", base, "--delete", join(base, "subsets.yaml"));
    assert.deepEqual(denied(found), ["virtual-service-subset-not-found"]);
  });

  test("a ConfigMap of the mesh config that loses its key is deleted, and one of somebody else is nothing", async () => {
    const configMap = (name: string, data: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: istio-system }\ndata: { ${data} }\n`;
    const injected = namespace.replace("istio-injection: enabled", "istio.io/rev: 1-28");
    const base = folderWith({ "namespace.yaml": injected, "mesh.yaml": configMap("istio-1-28", 'mesh: "{}"') });
    const emptied = await report(folderWith({ "mesh.yaml": configMap("istio-1-28", 'Mesh: "{}"') }), "--mesh", base);
    assert.deepEqual(denied(emptied.report), ["namespace-mesh-config-removed"]);
    const other = await report(folderWith({ "other.yaml": configMap("istio-leader", "{}") }), "--mesh", base);
    assert.deepEqual(other.report.findings, []);
  });

  test("--delete needs no manifests beside it", async () => {
    const base = folderWith(all);
    const { code, report: found } = await report("--mesh", base, "--delete", join(base, "subsets.yaml"));
    assert.deepEqual([code, denied(found), found.summary.objects], [1, ["virtual-service-subset-not-found"], 1]);
  });

  test("with a Namespace, what is in it is deleted, also if it is not named", async () => {
    const workload = `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cart, namespace: shop }
spec: { template: { metadata: { labels: { app: cart } }, spec: { containers: [{ name: app, image: app }] } } }
`;
    const route = virtualService
      .replace("namespace: shop", "namespace: web")
      .replace("[cart]", "[cart.shop.svc.cluster.local]");
    const service = `---
apiVersion: v1
kind: Service
metadata: { name: cart, namespace: shop }
spec: { selector: { app: cart }, ports: [{ name: http, port: 80 }] }
`;
    const elsewhere = `${route.replace(/host: cart, subset: v1/, "host: cart.shop.svc.cluster.local")}${service}`;
    const base = folderWith({
      "ns.yaml": namespace,
      "security.yaml": `${strict}---\n${denyAll}${workload}`,
      "web.yaml": elsewhere,
    });
    const gone = folderWith({ "gone.yaml": `${namespace}---\n${strict}---\n${denyAll}` });
    const { report: found } = await report("--mesh", base, "--delete", gone);
    assert.deepEqual(
      [found.summary.objects, found.findings.map(({ rule }) => rule)],
      [3, ["virtual-service-destination-not-found"]],
    );
  });

  test("a workload and what selects it may get another label at once", async () => {
    const workload = (label: string) => `${denyAll}---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cart, namespace: shop }
spec: { template: { metadata: { labels: { ${label}: cart } }, spec: { containers: [{ name: app, image: app }] } } }
---
apiVersion: v1
kind: Service
metadata: { name: cart, namespace: shop }
spec: { selector: { ${label}: cart }, ports: [{ name: http, port: 80 }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: shop }
spec: { selector: { matchLabels: { ${label}: cart } }, rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }], to: [{ operation: { methods: [GET] } }] }] }
`;
    const common = { "ns.yaml": `${namespace}---\n${strict}` };
    const [base, head] = [
      folderWith({ ...common, "cart.yaml": workload("app") }),
      folderWith({ "cart.yaml": workload("name") }),
    ];
    const { report: found } = await report(head, "--mesh", base);
    const moved = found.findings.filter(
      ({ rule }) => rule === "kubernetes-service-moved" || rule.startsWith("namespace-"),
    );
    assert.deepEqual(moved, []);
  });

  test("a Service and the policies of its pods may get another port at once", async () => {
    const cart = (port: number) => `${denyAll}---
apiVersion: v1
kind: Service
metadata: { name: cart, namespace: shop }
spec: { selector: { app: cart }, ports: [{ name: http, port: 80, targetPort: ${port} }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: cart, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, mtls: { mode: PERMISSIVE }, portLevelMtls: { ${port}: { mode: STRICT } } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }], to: [{ operation: { ports: ["${port}"] } }] }] }
`;
    const workload = `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cart, namespace: shop }
spec: { template: { metadata: { labels: { app: cart } }, spec: { containers: [{ name: app, image: app }] } } }
`;
    const base = folderWith({ "ns.yaml": `${namespace}---\n${strict}${workload}`, "cart.yaml": cart(8080) });
    const { report: found } = await report(folderWith({ "cart.yaml": cart(9090) }), "--mesh", base);
    const moved = found.findings.filter(({ rule }) => rule.startsWith("kubernetes-service-"));
    assert.deepEqual(moved, []);
  });

  test("related objects have file and line", async () => {
    const base = folderWith(all);
    const { report: found } = await report(folderWith(kept), "--mesh", base, "--prune");
    const related = found.findings.flatMap((one) =>
      one.related.map(({ name, file, line }) => `${name} ${file}:${line}`),
    );
    const security = join(base, "security.yaml");
    assert.deepEqual(related.sort(), [`default ${security}:1`, `deny-all ${security}:6`]);
  });

  const [base, head] = [folderWith(all), folderWith(kept)];
  for (const [name, argv, says] of [
    ["--prune without a mesh", [head, "--prune"], /--prune needs the mesh .*give --mesh/],
    ["--delete without a mesh", [head, "--delete", base], /--delete needs the mesh .*give --mesh/],
    ["--prune of a cluster", [head, "--prune", "--mesh", "cluster"], /--prune .* --mesh must be a file or folder/],
    [
      "an object that is both applied and deleted",
      [head, "--mesh", base, "--delete", join(base, "routes.yaml")],
      /VirtualService shop\/cart is also in the checked files; remove it from one of the two/,
    ],
    [
      "an object that is not there",
      [head, "--mesh", head, "--delete", join(base, "subsets.yaml")],
      /the mesh has no DestinationRule shop\/cart; correct the file or the mesh/,
    ],
    [
      "--prune without manifests, which would delete everything",
      ["--mesh", base, "--prune", "--delete", join(base, "subsets.yaml")],
      /missing required argument 'path'/,
    ],
    ["nothing to delete", [head, "--mesh", base, "--delete", join(root, "none")], /--delete .* cannot be read/],
  ] as const)
    test(`${name}: one line, exit 2`, async () => {
      const { code, error } = await meshward(["check", ...argv]);
      assert.equal(code, 2);
      assert.match(error, says);
    });
});

describe("--since", () => {
  const repository = folderWith({});
  const git = (...argv: readonly string[]): string =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.com", ...argv], {
      cwd: repository,
      encoding: "utf8",
      stdio: "pipe",
    });
  const inside = (path: string): string => join(repository, path);
  // Paths of a command count from the working directory, which tests share: they are given whole, and the repository is found
  // from the working directory, so the tests run there.
  const home = process.cwd();
  const run = async (...argv: readonly string[]) => {
    process.chdir(repository);
    try {
      return await report(...argv);
    } finally {
      process.chdir(home);
    }
  };
  const fails = async (...argv: readonly string[]): Promise<string> => {
    process.chdir(repository);
    try {
      const { code, error } = await meshward(["check", ...argv]);
      assert.equal(code, 2);
      return error;
    } finally {
      process.chdir(home);
    }
  };
  git("init", "--quiet", "--initial-branch=main");
  write(inside("mesh"), all);
  git("add", "--all");
  git("commit", "--quiet", "--message=one");
  git("checkout", "--quiet", "-b", "change");

  test("nothing changed", async () => {
    const { code, report: found } = await run("mesh", "--since", "main");
    assert.deepEqual([code, denied(found)], [0, []]);
  });

  test("without a path, everything in the working folder", async () => {
    const { code, report: found } = await run("--since", "main");
    assert.deepEqual([code, found.summary.objects], [0, (await run("mesh")).report.summary.objects]);
  });

  test("removed files delete, moved ones do not, and the index stays as it is", async () => {
    mkdirSync(inside("mesh/moved"));
    git("mv", "mesh/subsets.yaml", "mesh/moved/subsets.yaml");
    const index = git("status", "--porcelain");
    const moved = await run("mesh", "--since", "main");
    assert.deepEqual(denied(moved.report), []);
    rmSync(inside("mesh/security.yaml"));
    const { code, report: found } = await run("mesh", "--since", "main");
    assert.equal(code, 1);
    assert.deepEqual([...denied(found)].sort(), threeLosses.slice(0, 2));
    assert.deepEqual(new Set(found.findings.map(({ file }) => file)), new Set(["mesh/security.yaml"]));
    rmSync(inside("mesh/moved/subsets.yaml"));
    assert.deepEqual([...denied((await run("mesh", "--since", "main")).report)].sort(), threeLosses);
    git("checkout", "--", "mesh/moved/subsets.yaml");
    write(inside("mesh"), { "security.yaml": all["security.yaml"] ?? "" });
    assert.equal(git("status", "--porcelain"), index);
  });

  test("what the other branch got since then is no part of the change", async () => {
    git("stash", "--quiet");
    git("checkout", "--quiet", "main");
    write(inside("mesh"), { "later.yaml": denyAll.replace("deny-all", "later") });
    git("add", "--all");
    git("commit", "--quiet", "--message=two");
    git("checkout", "--quiet", "change");
    const { report: found } = await run("mesh", "--since", "main");
    assert.equal(found.summary.objects, 5);
  });

  test("a folder that is new since then", async () => {
    write(inside("new"), { "cart.yaml": virtualService.replace("weight", "") });
    const { code, report: found } = await run("new", "--since", "main");
    assert.deepEqual([code, found.summary.warn], [0, 1]);
    rmSync(inside("new"), { recursive: true });
  });

  test("an unknown revision, options instead of one, standard input, another folder", async () => {
    assert.match(await fails("mesh", "--since", "nowhere"), /git knows no revision "nowhere"; correct it, or bring it/);
    assert.match(await fails("mesh", "--since", "--output=x"), /git knows no revision "--output=x"/);
    assert.match(await fails("-", "--since", "main"), /standard input \(-\) is in no revision/);
    assert.match(await fails(home, "--since", "main"), /is not in the git repository .*; give paths inside it/);
    assert.match(await fails("mesh", "--since", "main", "--mesh", "mesh"), /--since and --mesh both name the mesh/);
  });

  test("outside of any repository", async () => {
    process.chdir(root);
    try {
      const { code, error } = await meshward(["check", ".", "--since", "main"]);
      assert.equal(code, 2);
      assert.match(error, /the working directory is in no git repository/);
    } finally {
      process.chdir(home);
    }
  });
});

test("a finding without a file of its own stands at the file of what was lost: a mesh-wide mode", async () => {
  const strict =
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: default, namespace: istio-system }\n";
  const base = folderWith({ "mesh-wide.yaml": `${strict}spec: { mtls: { mode: STRICT } }\n`, "rest.yaml": denyAll });
  const { report: found } = await report(folderWith({ "rest.yaml": denyAll }), "--mesh", base, "--prune");
  const places = found.findings.map(({ rule, file }) => `${rule} ${file}`);
  assert.deepEqual(places, [`namespace-mesh-mtls-weakened ${join(base, "mesh-wide.yaml")}`]);
});

describe("what was looked at", () => {
  test("a folder without an object is an error that names what was left out, unless that is accepted", async () => {
    const folder = folderWith({
      "kustomization.yaml": "patches: [{ path: weights.yaml }]\n",
      "weights.yaml": virtualService,
    });
    const { code, error } = await meshward(["check", folder]);
    assert.equal(code, 2);
    assert.match(error, /it contains no object to check; left out: .*kustomization\.yaml \(kustomization: render it/);
    assert.match(error, /weights\.yaml \(kustomize patch\).* --render always .* --allow-empty/);
    assert.equal((await meshward(["check", folder, "--allow-empty"])).code, 0);
    const empty = join(folder, "empty");
    mkdirSync(empty);
    assert.equal((await meshward(["check", empty])).code, 2);
    assert.equal((await meshward(["check", empty, "--allow-empty"])).code, 0);
    assert.equal((await meshward(["check", join(empty, "missing"), "--allow-empty"])).code, 2);
    // Policies that are still to be written.
    const policies = ["check", folder, "--policies", empty];
    assert.match((await meshward(policies)).error, /this folder contains no \.yaml/);
    assert.equal((await meshward([...policies, "--allow-empty"])).code, 0);
    assert.equal((await meshward(["check", folder, folderWith(all)])).code, 2);
  });

  test("the report names profile, policies, protected namespaces and objects", async () => {
    const { report: found } = await report(folderWith(all), "--profile", "strict");
    const { version, time, idle, ...basis } = found.basis;
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000, time);
    assert.match(version, /^\d+\.\d+\.\d+/);
    assert.deepEqual(basis, {
      profile: "strict",
      policies: [],
      exceptions: 0,
      protectedNamespaces: ["shop"],
      objects: { VirtualService: 1, DestinationRule: 1, PeerAuthentication: 1, AuthorizationPolicy: 1, Namespace: 1 },
    });
    assert.ok(idle.some(({ rule, reason }) => rule === "gateway-tls-weak" && reason === "no object of its kind"));
  });

  test("without a protected namespace, the text says which rules had nothing to check", async () => {
    const open = Object.values(all)
      .join("---\n")
      .replace(/, meshward.io\/protected: "true"/, "");
    const folder = folderWith({ "mesh.yaml": open });
    const { out } = await meshward(["check", folder]);
    assert.match(out, /^profile baseline, no policies; no namespace is protected$/m);
    const told = /^(\d+) rules had nothing to check \(only for protected namespaces\): (.*) and (\d+) more$/m.exec(out);
    const json = JSON.parse((await meshward(["check", folder, "--format", "json"])).out) as Report;
    const idle = json.basis.idle.filter(({ reason }) => reason === "only for protected namespaces");
    assert.ok(idle.some(({ rule }) => rule === "namespace-mtls-weakened"));
    const named = told?.[2]?.split(", ") ?? [];
    assert.equal(Number(told?.[1]), idle.length);
    assert.equal(named.length + Number(told?.[3]), idle.length);
    assert.ok(named.length > 0 && named.every((id) => idle.some(({ rule }) => rule === id)));
  });

  test("--policies in which no policy is", async () => {
    const { code, error } = await meshward(["check", folderWith(all), "--policies", folderWith(kept)]);
    assert.equal(code, 2);
    assert.match(
      error,
      /it contains no MeshwardPolicy, MeshwardException or MeshwardIntent, only Namespace, VirtualService; give/,
    );
  });
});

describe("what files leave open", () => {
  const subsets = (...names: readonly string[]) =>
    destinationRule.replace(/subsets: .*/, `subsets: [${names.map((name) => `{ name: ${name} }`).join(", ")}] }`);
  const route = (subset: string) => virtualService.replace("v1 }", () => `${subset} }`);
  const modes = ({ findings }: Report): readonly string[] =>
    findings.map(({ rule, mode, lowered }) => [rule, mode, ...lowered.map(({ step }) => step)].join(" "));
  const denial = "virtual-service-subset-not-found deny";

  test("another definition in the same folder resolves the problem: a warning that names it", async () => {
    const folder = folderWith({
      "rules-all.yaml": subsets("v1", "v2"),
      "rules-old.yaml": subsets("v1"),
      "routes.yaml": route("v2"),
    });
    const { code, report: found } = await report(folder);
    assert.deepEqual([code, modes(found)], [0, ["virtual-service-subset-not-found warn alternative"]]);
    assert.match(
      found.findings[0]?.lowered[0]?.reason ?? "",
      /cart in .*rules-all\.yaml, which defines it differently/,
    );
  });

  test("alternatives count in their folder, whatever other folders define", async () => {
    const alternatives = { "dev/rules-all.yaml": subsets("v1", "v2"), "dev/rules-old.yaml": subsets("v1") };
    const warned = await report(
      folderWith({
        ...alternatives,
        "dev/a.yaml": route("v2"),
        "dev/b.yaml": route("v1"),
        "test/rules.yaml": subsets("v1"),
      }),
    );
    assert.deepEqual([warned.code, modes(warned.report)], [0, ["virtual-service-subset-not-found warn alternative"]]);
    const denied = await report(
      folderWith({ ...alternatives, "prod/routes.yaml": route("v2"), "prod/rules.yaml": subsets("v1") }),
    );
    assert.deepEqual(modes(denied.report), [denial]);
  });

  test("no definition resolves it: denied, also for each of several routes", async () => {
    const folder = folderWith({
      "routes-new.yaml": route("v9"),
      "routes-old.yaml": route("v8"),
      "rules-all.yaml": subsets("v1", "v2"),
      "rules-old.yaml": subsets("v1"),
    });
    assert.deepEqual(modes((await report(folder)).report), [denial, denial]);
  });

  test("definitions in different folders are environments, which are not mixed", async () => {
    const folder = folderWith({
      "dev/rules.yaml": subsets("v1"),
      "dev/routes.yaml": route("v2"),
      "prod/rules.yaml": subsets("v1", "v2"),
    });
    assert.deepEqual(modes((await report(folder)).report), [denial]);
  });

  for (const host of [
    "'cart.${NS}.svc.cluster.local'",
    "$(HOST)",
    "'{{ .host }}'",
    "__HOST__",
    "REPLACE_ME",
    "CART_SERVICE.CART_NAMESPACE.svc.cluster.local",
    "placeholderHost",
    "$HOST",
    "<host>",
    "<<CART-HOST>>.svc.cluster.local",
    "'{CART_HOST}'",
  ])
    test(`a finding that rests on the placeholder in ${host} warns`, async () => {
      const routes = virtualService.replace("{ host: cart, subset", () => `{ host: ${host}, subset`);
      assert.notEqual(routes, virtualService);
      const { code, report: found } = await report(folderWith({ "routes.yaml": routes, "rules.yaml": subsets("v2") }));
      assert.equal(code, 0);
      assert.ok(found.findings.length > 0);
      for (const { lowered, mode } of found.findings) {
        assert.equal(mode, "warn");
        assert.match(
          lowered.at(-1)?.reason ?? "",
          /is a placeholder, whose value is not known here|may exist elsewhere/,
        );
      }
    });

  for (const host of ["<name>.<domain>", "<<__name__>>.<<__domain__>>"])
    test(`a host of several parts to fill in, ${host}, warns`, async () => {
      const gateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: main, namespace: shop }
spec: { servers: [{ port: { number: 443, name: tls, protocol: TLS }, tls: { mode: PASSTHROUGH }, hosts: ["${host}"] }] }
`;
      const { code, report: found } = await report(folderWith({ "gateway.yaml": gateway }));
      assert.equal(code, 0);
      const invalid = found.findings.find(({ rule }) => rule === "gateway-server-invalid");
      assert.match(invalid?.lowered.at(-1)?.reason ?? "", /is a placeholder, whose value is not known here/);
    });

  test("namespaces that every cluster with a mesh has are not missed in files", async () => {
    const header = (kind: string) => `kind: ${kind}\nmetadata: { name: a, namespace: shop }\n`;
    const shop = `apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n---\napiVersion: v1\n${header("Service")}spec: { ports: [{ port: 80 }] }\n`;
    const names = ["istio-system", "kube-system", "default", "gone"];
    const messages = (found: Report) => found.findings.map(({ message }) => message.replace(/,.*/, ""));
    for (const [text, gone] of [
      [
        `apiVersion: security.istio.io/v1\n${header("AuthorizationPolicy")}spec: { rules: [{ from: [{ source: { namespaces: [${names.join()}] } }] }] }\n`,
        'Namespace "gone" does not exist',
      ],
      [
        `apiVersion: networking.istio.io/v1\n${header("Sidecar")}spec: { egress: [{ hosts: [${names.map((name) => `${name}/*`).join()}] }] }\n`,
        'Namespace "gone" does not exist',
      ],
      [
        `apiVersion: networking.istio.io/v1\n${header("VirtualService")}spec: { hosts: [a.example.com], exportTo: [${names.join()}], http: [{ directResponse: { status: 404 } }] }\n`,
        'Namespace "gone" in exportTo does not exist',
      ],
    ] as const) {
      const folder = folderWith({ "a.yaml": shop, "b.yaml": text });
      assert.deepEqual(messages((await report(folder)).report), [gone]);
      assert.equal(messages((await report(folder, "--complete", "Namespace")).report).length, 4);
    }
  });

  test("one mesh config does not show which revisions and tags a cluster has", async () => {
    const config =
      "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio-stable, namespace: istio-system }\ndata: { mesh: '' }\n";
    const label = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { istio.io/rev: default } }\n";
    const tag = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: { name: istio-revision-tag-prod, labels: { istio.io/tag: prod, istio.io/rev: stable } }
webhooks: []
`;
    const rule = "injection-revision-unserved";
    const rules = ({ findings }: Report) => findings.map((finding) => finding.rule);
    const { report: alone } = await report(folderWith({ "a.yaml": config, "b.yaml": label }));
    assert.deepEqual(rules(alone), []);
    assert.ok(alone.skipped.some((one) => JSON.stringify(one).includes(rule)));
    const { report: tags } = await report(folderWith({ "a.yaml": config, "b.yaml": label, "c.yaml": tag }));
    assert.deepEqual(rules(tags), [rule]);
  });

  test("angle brackets of a regular expression or of HTML are no placeholder", async () => {
    for (const body of ["<h1>No</h1>", "^/(?<id>a)$", "^/(?P<id>a)$"]) {
      const direct = `directResponse: { status: 9999, body: { string: '${body}' } }`;
      const routes = virtualService.replace("route: [{ destination: { host: cart, subset: v1 } }]", () => direct);
      assert.notEqual(routes, virtualService);
      const { report: found } = await report(folderWith({ "routes.yaml": routes }));
      assert.deepEqual([...new Set(found.findings.map(({ mode }) => mode))], ["deny"], body);
    }
  });

  test("an object that is wrong whatever its placeholders stand for is denied", async () => {
    const routes = (where: string, host: string, second: string) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web, namespace: ${JSON.stringify(where)} }
spec:
  hosts: [web]
  http: [{ route: [{ destination: { host: ${JSON.stringify(host)} }, weight: 30 }, { destination: { host: web }, weight: ${second} }] }]
`;
    const weights = "virtual-service-weights-not-100";
    for (const [where, host] of [
      ["${NS}", "web"],
      ["{{ .Release.Namespace }}", "web"],
      ["shop", "web.${NS}.svc.cluster.local"],
      ["$NS", "<host>"],
    ] as const) {
      const { code, report: found } = await report(folderWith({ "routes.yaml": routes(where, host, "60") }));
      const denied = found.findings.filter(({ mode }) => mode === "deny").map(({ rule }) => rule);
      assert.deepEqual([code, denied], [1, [weights]], `${where} ${host}`);
      const right = await report(folderWith({ "routes.yaml": routes(where, host, "70") }));
      assert.equal(right.code, 0);
    }
    // The sum is not known.
    const { code, report: found } = await report(folderWith({ "routes.yaml": routes("shop", "web", "'${W}'") }));
    assert.equal(code, 0, JSON.stringify(found.findings));
  });

  test("a placeholder on which nothing rests excuses nothing", async () => {
    const rules = subsets("v2").replace("{ host: cart,", "{ host: cart, trafficPolicy: { tls: { sni: '${SNI}' } },");
    assert.notEqual(rules, subsets("v2"));
    const { code, report: found } = await report(folderWith({ "routes.yaml": virtualService, "rules.yaml": rules }));
    assert.deepEqual([code, modes(found)], [1, [denial]]);
    // The name of the subset may be the one that the route has.
    const open = await report(folderWith({ "routes.yaml": virtualService, "rules.yaml": subsets("'${SUBSET}'") }));
    assert.ok(open.report.findings.length > 0);
    assert.equal(open.code, 0, modes(open.report).join());
  });

  test("findings that another value than a placeholder resolves are one warning a file", async () => {
    const objects = (domain: string, port: string) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec: { parentRefs: [{ name: gw }], hostnames: ["web.${domain}", "${domain}"] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: "gw-${domain}", namespace: "${domain}" }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 443, name: https, protocol: HTTPS }, tls: { mode: SIMPLE, credentialName: c }, hosts: ["*.${domain}"] }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: db, namespace: shop }
spec: { hosts: ["db.${domain}"], addresses: ["${domain}"], resolution: DNS, location: MESH_EXTERNAL, ports: [{ number: ${port}, name: tcp, protocol: TCP }] }
`;
    const notes = async (domain: string, port = "5432", ...more: readonly string[]) => {
      const folder = folderWith({ "a.yaml": objects(domain, port), "b/b.yaml": objects(domain, port) });
      const { code, out, error } = await meshward(["check", folder, ...more]);
      return {
        code,
        found: out.match(/ (deny|warn)  /g) ?? [],
        others: out.match(/fix: .*\d+ more findings in this file .*/g) ?? [],
        notes: error.match(/note: \d+ findings.*/g) ?? [],
      };
    };
    const note = (listed: string) =>
      `note: 14 findings in 2 files depend on what stands for placeholders such as "\${DOMAIN}"${listed}; --substitute NAME=VALUE gives the value of a variable`;
    const found = await notes("${DOMAIN}");
    assert.deepEqual(
      [found.code, found.found, found.notes],
      [0, [" warn  ", " warn  "], [note(", of which each file has one in the report (--verbose lists all)")]],
    );
    assert.equal(found.others.length, 2);
    for (const said of found.others)
      assert.match(said, /6 more findings in this file depend on placeholders and are not listed\.$/);
    const all = await notes("${DOMAIN}", "5432", "--verbose");
    assert.deepEqual([all.code, all.found.length, all.others], [0, 14, []]);
    assert.ok(all.found.every((mode) => mode === " warn  "));
    const valid = await notes("${DOMAIN}", "5432", "--substitute", "DOMAIN=example");
    assert.deepEqual(valid.notes, []);
    // Whatever the domain is, the port is wrong.
    assert.equal((await notes("${DOMAIN}", "70000")).code, 1);
    assert.deepEqual((await notes("Example_Domain")).notes, []);
    assert.equal((await notes("Example_Domain")).code, 1);
  });

  test("a value that is wrong in another way resolves nothing", async () => {
    const route = (backend: string) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ name: gw }]
  rules:
  - { matches: [{ path: { type: PathPrefix, value: /api } }], backendRefs: [{ name: a, port: 80 }] }
  - { matches: [{ path: { type: RegularExpression, value: "/api/v[12]" } }], backendRefs: [${backend}] }
---
apiVersion: v1
kind: Service
metadata: { name: a, namespace: shop }
spec: { ports: [{ port: 80 }] }
`;
    const policy = (kind: string) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: a, namespace: shop }
spec: { selector: { matchLabels: { app: a } }, targetRefs: [{ kind: ${kind}, name: w }], action: DENY, rules: [{}] }
`;
    for (const [text, rule, at] of [
      // An address is no name of a backend, so that istiod would drop the whole route.
      [route("{ name: '${NAME}', port: 80 }"), "http-route-rule-unreachable", "spec.rules[1]"],
      [route("{ name: '${NAME}' }"), "http-route-backend-not-found", "spec.rules[1].backendRefs[0]"],
      // An address is no kind, and beside that the definition says nothing about the whole.
      [policy("placeholderKind"), "object-invalid", "spec"],
    ] as const) {
      const { report: found } = await report(folderWith({ "a.yaml": text }));
      assert.ok(
        found.findings.some((one) => one.rule === rule && one.path === at),
        `${rule} ${modes(found).join()}`,
      );
    }
  });

  test("what the definition and istiod both say of a value is one finding", async () => {
    const routes = virtualService.replace("[{ route", () => '[{ timeout: "${TIMEOUT}", route');
    assert.notEqual(routes, virtualService);
    const folder = folderWith({ "routes.yaml": routes, "rules.yaml": subsets("v1") });
    assert.match((await meshward(["check", folder])).error, /note: 1 finding in 1 file depends on/);
    const { code, report: found } = await report(folder);
    assert.deepEqual([code, found.findings.length], [0, 1]);
    const [only] = found.findings;
    assert.deepEqual([only?.mode, only?.lowered.at(-1)?.step], ["warn", "placeholder"]);
    assert.match(only?.lowered.at(-1)?.reason ?? "", /"\$\{TIMEOUT\}" is a placeholder, whose value is not known here/);
  });

  test("what depends on other objects is listed before what an object alone may have wrong", async () => {
    const routes = virtualService
      .replace("hosts: [", () => 'hosts: ["${HOST}", ')
      .replace("subset: v1 }", () => 'subset: "${SUBSET}" }');
    assert.notEqual(routes, virtualService);
    const { code, report: found } = await report(folderWith({ "routes.yaml": routes, "rules.yaml": subsets("v1") }));
    assert.deepEqual([code, modes(found)], [0, ["virtual-service-subset-not-found warn placeholder"]]);
    assert.match(found.findings[0]?.fix ?? "", /\d more findings? in this file depends? on/);
  });

  test("also where the stored object has labels that the file does not have", async () => {
    const objectOf = (labels: string) =>
      `apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: db, namespace: shop${labels} }\nspec: { hosts: ["db.\${DOMAIN}"], resolution: DNS, location: MESH_EXTERNAL, ports: [{ number: 443, name: tls, protocol: TLS }] }\n`;
    const mesh = folderWith({ "a.yaml": objectOf(", uid: a-1, labels: { team: shop }").replace("${DOMAIN}", "a.com") });
    const { code, report: found } = await report(folderWith({ "a.yaml": objectOf("") }), "--mesh", mesh);
    assert.deepEqual([code, modes(found)], [0, ["service-entry-host-invalid warn placeholder"]]);
  });

  test("a number that is a placeholder, too", async () => {
    const routes = virtualService.replace("subset: v1 }", () => "subset: v1 }, weight: '${CANARY}'");
    const { code, report: found } = await report(folderWith({ "routes.yaml": routes, "rules.yaml": subsets("v1") }));
    assert.deepEqual([code, modes(found)], [0, ["object-malformed warn placeholder"]]);
  });

  test("variables of Flux get their values, and defaults", async () => {
    const folder = folderWith({
      "routes.yaml": route('"${VERSION:=v7}"'),
      "rules.yaml": subsets("v1"),
      "values.env": "# the environment\nexport VERSION='v1'\n",
    });
    assert.deepEqual(modes((await report(folder, "--substitute", "VERSION=v1")).report), []);
    assert.deepEqual(modes((await report(folder, "--substitute-from", join(folder, "values.env"))).report), []);
    assert.deepEqual(modes((await report(folder, "--substitute", "OTHER=1")).report), [denial]);
    const unset = (await report(folder)).report.findings;
    assert.ok(
      unset.length > 0 && unset.every(({ mode, lowered }) => mode === "warn" && lowered.at(-1)?.step === "placeholder"),
    );
    assert.match((await meshward(["check", folder, "--substitute", "VERSION"])).error, /expected NAME=VALUE, found/);
    const none = join(folder, "none.env");
    assert.match((await meshward(["check", folder, "--substitute-from", none])).error, /there is no such file/);
  });

  test("expectations of test tools and files of other kinds are left out, also with --skip-unknown", async () => {
    const folder = folderWith({
      "01-assert.yaml": route("v9"),
      "values.yaml": "a: 1\n",
      "zarf.yaml": "kind: ZarfPackageConfig\nmetadata: { name: x }\n",
      "routes.yaml": route("v1"),
      "rules.yaml": subsets("v1"),
    });
    assert.deepEqual((await report(folder)).report.summary.objects, 2);
    const files = ["values.yaml", "routes.yaml", "rules.yaml"].map((name) => join(folder, name));
    assert.equal((await report(...files)).code, 2);
    assert.equal((await report(...files, "--skip-unknown")).code, 0);
  });

  test("what a test of chainsaw compares or changes is left out, and so is a document that says it is a patch", async () => {
    const operations = ["assert", "error", "patch"].map((name) => `{ ${name}: { file: ${name}ed.yaml } }`).join(", ");
    const folder = folderWith({
      "chainsaw-test.yaml": `apiVersion: chainsaw.kyverno.io/v1alpha1\nkind: Test\nmetadata: { name: a }\nspec: { steps: [{ try: [{ apply: { file: routes.yaml } }, ${operations}, { error: { file: none.yaml } }] }] }\n`,
      "asserted.yaml": route("v7"),
      "errored.yaml": route("v8"),
      "patched.yaml": route("v9"),
      "routes.yaml": route("v1"),
      "rules.yaml": subsets("v1"),
      "removed.yaml": `$patch: delete\n${route("v6")}`,
    });
    const { code, report: found } = await report(folder);
    assert.deepEqual([code, found.summary.objects, modes(found)], [0, 2, []]);
    assert.match(
      (await meshward(["check", folder])).error,
      /3 files left out: partial manifest of a test tool[^]*1 file left out: kustomize patch/,
    );
    assert.deepEqual(modes((await report(join(folder, "errored.yaml"), join(folder, "rules.yaml"))).report), [denial]);
  });

  test("patches of a kustomization above are left out, in a folder and for a hook that names them", async () => {
    const folder = folderWith({
      "base/kustomization.yaml": "resources: [web.yaml]\npatches: [{ path: patches/routes.yaml }]\n",
      "base/patches/routes.yaml": route("v9"),
      "base/patches/rules.yaml": subsets("v1"),
    });
    const [patches, patch] = [join(folder, "base", "patches"), join(folder, "base", "patches", "routes.yaml")];
    assert.deepEqual(modes((await report(patches)).report), []);
    const rules = join(patches, "rules.yaml");
    assert.deepEqual(modes((await report(patch, rules, "--skip-unknown")).report), []);
    assert.deepEqual(modes((await report(patch, rules)).report), [denial]);
  });

  test("a kind that is written with escapes is read", async () => {
    const weighted = { route: ["a", "b"].map((host) => ({ destination: { host }, weight: 1 })) };
    const plain = { apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name: "a" } };
    const text = JSON.stringify({ ...plain, spec: { hosts: ["a"], http: [weighted] } })
      .replace("istio.io", "\\u0069stio.io")
      .replace('"kind"', '"\\u006bind"')
      .replace("VirtualService", "\\u0056irtualService");
    const found = (await report(folderWith({ "a.json": text }))).report;
    assert.deepEqual(modes(found), ["virtual-service-weights-not-100 deny"]);
  });

  test("a guess about ambient is no finding, unless something in the files speaks of ambient", async () => {
    const policy = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: get, namespace: shop }
spec: { rules: [{ to: [{ operation: { methods: [GET] } }] }] }
`;
    const alone = (await report(folderWith({ "policy.yaml": policy }))).report;
    assert.deepEqual(modes(alone), []);
    const reasons = alone.skipped.filter(({ rule }) => rule === "authorization-policy-not-enforced-l7");
    assert.deepEqual(
      reasons.map(({ reason }) => reason),
      ["the files do not show whether namespace shop is ambient"],
    );
    const other = namespace
      .replace(', meshward.io/protected: "true"', "")
      .replace("name: shop", "name: other")
      .replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient");
    const ambient = (await report(folderWith({ "policy.yaml": policy, "other.yaml": other }))).report;
    assert.deepEqual(modes(ambient), ["authorization-policy-not-enforced-l7 warn"]);
  });

  test("policies of one name in several folders are no error, in one folder they are", async () => {
    const policy = `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: ours }
spec: { protectedNamespaces: { names: [shop] } }
`;
    assert.equal((await report(folderWith({ ...all, "dev/policy.yaml": policy, "prod/policy.yaml": policy }))).code, 0);
    const { code, error } = await meshward(["check", folderWith({ ...all, "a.yaml": policy, "b.yaml": policy })]);
    assert.equal(code, 2);
    assert.match(error, /another document has this name/);
  });

  test("the requester decides as in the webhook", async () => {
    const files = folderWith({ "routes.yaml": route("v9"), "rules.yaml": subsets("v1") });
    const policies = folderWith({
      "policy.yaml": `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: ours }
spec:
  match: { groups: [routers] }
  rules: [{ id: virtual-service-subset-not-found, mode: audit }]
`,
    });
    const flux = "system:serviceaccount:flux-system:kustomize-controller";
    assert.deepEqual(modes((await report(files, "--user", "alice")).report), [denial]);
    assert.deepEqual(modes((await report(files, "--user", flux)).report), [
      "virtual-service-subset-not-found warn reconciler",
    ]);
    const grouped = await report(files, "--policies", policies, "--group", "routers");
    assert.deepEqual(modes(grouped.report), ["virtual-service-subset-not-found audit"]);
    assert.deepEqual(modes((await report(files, "--policies", policies)).report), [denial]);
    assert.match((await meshward(["check", files, "--operation", "PATCH"])).error, /expected one of CREATE, UPDATE/);
  });

  test("--operation DELETE deletes no file, and a note says what does", async () => {
    const file = folderWith({ "a.yaml": destinationRule });
    const about = /note: --operation DELETE only chooses the policies: .* name what is deleted with --delete/;
    assert.match((await meshward(["check", file, "--operation", "DELETE"])).error, about);
    assert.doesNotMatch((await meshward(["check", file, "--operation", "UPDATE"])).error, about);
    const deleted = ["check", "--delete", file, "--mesh", file, "--operation", "DELETE"];
    assert.doesNotMatch((await meshward(deleted)).error, about);
  });

  test("many objects that are defined twice are one note, and --verbose lists them", async () => {
    const many = [1, 2, 3, 4].map((i) => destinationRule.replace("name: cart", `name: cart-${i}`)).join("---\n");
    const folder = folderWith({ "a.yaml": many, "b.yaml": many });
    assert.match((await meshward(["check", folder])).error, /note: 4 objects are defined more than once, in 8 places/);
    assert.match(
      (await meshward(["check", folder, "--verbose"])).error,
      /DestinationRule shop\/cart-3 in .* is replaced/,
    );
  });
});

test("objects whose names the API server makes, or that have none, do not replace each other", async () => {
  const made = (metadata: string) => destinationRule.replace(/metadata: .*/, `metadata: ${metadata}`);
  const text = [made("{ generateName: a-, namespace: shop }"), made("{ name: 5, namespace: shop }")].join("---\n");
  const { error, report: found } = await report(folderWith({ "a.yaml": text }), "--verbose");
  assert.doesNotMatch(error, /is replaced by/);
  assert.equal(found.summary.objects, 2);
});

test("a host that lacks most of its name is put right with the namespace where the Service is", async () => {
  const service =
    "apiVersion: v1\nkind: Service\nmetadata: { name: cart, namespace: shop }\nspec: { ports: [{ port: 80 }] }\n";
  const text = `${service}---\n${virtualService.replace("host: cart, subset: v1", "host: cart.shopp")}`;
  const { out } = await meshward(["audit", "--mesh", folderWith({ "a.yaml": text })]);
  assert.match(out, /"cart\.shopp" is no Service/);
  assert.match(out, /Did you mean "cart\.shop\.svc\.cluster\.local"\?/);
});

describe("what was there before, in a Namespace that the files leave as it is", () => {
  const web =
    "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop }\nspec: { ports: [{ port: 80 }] }\n";
  for (const [title, namespaceNow] of [
    ["unchanged", namespace],
    ["changed", namespace.replace("labels: {", "labels: { team: a,")],
  ] as const)
    test(`missing default deny and plaintext are both reported: ${title}`, async () => {
      const base = folderWith({ "shop.yaml": namespace });
      const head = folderWith({ "shop.yaml": `${namespaceNow}---\n${web}` });
      const { report: found } = await report(head, "--mesh", base);
      assert.deepEqual(
        found.findings.map(({ rule, mode, introduced }) => `${rule} ${mode} ${introduced}`),
        ["namespace-default-deny-missing warn false", "namespace-mtls-not-strict warn false"],
      );
    });
});

test("the first policies that ask for tokens may come with the issuer of the tokens", async () => {
  const tokens = (issuer: string) => `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: shop }
spec: { jwtRules: [{ issuer: "https://${issuer}.example.com", jwksUri: "https://${issuer}.example.com/keys" }] }
`;
  const asking = (principals: string) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: with-token, namespace: shop }
spec: { action: DENY, rules: [{ from: [{ source: { notRequestPrincipals: ["${principals}"] } }] }] }
`;
  const workload = `apiVersion: apps/v1
kind: Deployment
metadata: { name: api, namespace: shop }
spec: { template: { metadata: { labels: { app: api } } } }
`;
  const changed = folderWith({ "tokens.yaml": tokens("new"), "policy.yaml": asking("*") });
  const rulesOfChangeTo = async (files: Files) => {
    const mesh = folderWith({ "namespace.yaml": namespace, "workload.yaml": workload, ...files });
    const { report: found } = await report(changed, "--mesh", mesh, "--profile", "strict");
    return found.findings.filter(({ mode }) => mode === "deny").map(({ rule }) => rule);
  };
  assert.deepEqual(await rulesOfChangeTo({}), []);
  const before = { "tokens.yaml": tokens("old"), "policy.yaml": asking("https://old.example.com/*") };
  assert.deepEqual(await rulesOfChangeTo(before), ["namespace-token-issuer-added", "namespace-deny-weakened"]);
});
