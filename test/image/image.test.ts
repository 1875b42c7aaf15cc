import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import packageJson from "../../package.json" with { type: "json" };
import { selfSigned } from "../../src/tls/self-signed.ts";
import { argumentsOf, checkout, image, instructions, stages, wordsOf } from "./dockerfile.ts";
import { type ImageRoot, imageRoot, noImage } from "./image-root.ts";

const folder = mkdtempSync(join(tmpdir(), "meshward-image-"));
after(() => rmSync(folder, { recursive: true }));

describe("the Dockerfile", () => {
  test("has a stage that builds, of which the image takes files only", () => {
    assert.equal(stages.length, 2);
    assert.equal(stages[0]?.name, "build");
    assert.ok(image.copied.length > 0);
    for (const { from, source } of image.copied) {
      assert.equal(from, "build", source);
      assert.match(source, /^\/source\/(?:dist\/)?[\w.-]+$/, "a single file, whose name is known");
    }
    assert.deepEqual(argumentsOf("RUN"), [], "the base image has no shell");
  });

  test("is based on an image without a shell, of the Node that the tests run on", () => {
    assert.match(image.base, /^gcr\.io\/distroless\/nodejs24-debian12:nonroot$/);
    assert.match(stages[0]?.base ?? "", /^docker\.io\/library\/node:24-bookworm-slim$/);
    assert.equal(process.versions.node.split(".")[0], "24");
  });

  test("runs as a user without privileges, by number, who owns nothing in it", () => {
    assert.deepEqual(argumentsOf("USER"), ["65532:65532"]);
    for (const { flags, source } of image.copied) {
      assert.equal(flags["chown"], "0:0", source);
      assert.equal(flags["chmod"], "0444", source);
    }
  });

  test("starts without a shell, which would not pass signals on", () => {
    assert.deepEqual(wordsOf("ENTRYPOINT"), ["/nodejs/bin/node", "--disable-sigusr1", "/meshward/meshward.js"]);
    assert.deepEqual(wordsOf("CMD"), ["--help"]);
  });

  test("takes nothing from the network but packages of the lock file, and contains no secret", () => {
    const words = instructions.map((instruction) => instruction.getKeyword());
    assert.ok(!words.includes("ADD"));
    assert.ok(!words.includes("ENV"));
    const installs = argumentsOf("RUN", stages[0]).filter((line) => /npm|apt|curl|wget/.test(line));
    assert.deepEqual(installs, ["npm ci --ignore-scripts", "npm run -s build"]);
    assert.doesNotMatch(argumentsOf("ARG", stages[0]).join(), /TOKEN|SECRET|PASSWORD/i);
  });

  test("has the labels of OCI, the ports of the program, and its papers", () => {
    const labels = argumentsOf("LABEL").join(" ");
    for (const name of ["title", "description", "source", "documentation", "licenses", "version", "revision"])
      assert.match(labels, new RegExp(`org\\.opencontainers\\.image\\.${name}="[^"]+"`), name);
    assert.ok(labels.includes(packageJson.description));
    assert.ok(labels.includes(packageJson.license));
    assert.deepEqual(argumentsOf("EXPOSE"), ["8443 8080"]);
    const names = image.copied.map(({ target }) => target);
    assert.deepEqual(names, [
      "/meshward/meshward.js",
      "/meshward/meshward.cdx.json",
      "/meshward/THIRD-PARTY-NOTICES.txt",
      "/meshward/LICENSE",
    ]);
  });
});

describe("what the Dockerfile builds", () => {
  const source = join(folder, "source");
  let root: ImageRoot;

  before(() => {
    for (const { source: from, target } of stages[0]?.copied ?? []) {
      const path = join(checkout, from);
      assert.ok(existsSync(path), `${from} is copied and does not exist`);
      assert.ok(isInContext(from), `${from} is copied, and .dockerignore leaves it out`);
      cpSync(path, join(folder, target), { recursive: true });
    }
    symlinkSync(join(checkout, "node_modules"), join(source, "node_modules"));
    const { status, stderr } = spawnSync("npm", ["run", "-s", "build"], { cwd: source, encoding: "utf8" });
    assert.equal(status, 0, stderr);
    if (!noImage) root = imageRoot(join(folder, "root"), join(source, "dist"));
  });

  const run = (args: readonly string[], input = "") => {
    const [path, ...rest] = root.command(args);
    return spawnSync(path, rest, { encoding: "utf8", input, timeout: 60_000 });
  };

  test("is a bill of materials that lists what the notices list", () => {
    const read = (name: string) => readFileSync(join(source, "dist", name), "utf8");
    const { bomFormat, components } = JSON.parse(read("meshward.cdx.json")) as {
      readonly bomFormat: string;
      readonly components: readonly { readonly name: string; readonly version: string; readonly purl: string }[];
    };
    assert.equal(bomFormat, "CycloneDX");
    const noticed = [...read("THIRD-PARTY-NOTICES.txt").matchAll(/^-{100}\n\n(\S+ \S+)/gm)].map(
      ([, name = ""]) => name,
    );
    assert.deepEqual(new Set(components.map(({ name, version }) => `${name} ${version}`)), new Set(noticed));
    assert.ok(components.some(({ purl }) => /^pkg:npm\/%40kubernetes\/client-node@\d+\.\d+\.\d+$/.test(purl)));
    assert.ok(components.some(({ name }) => name === "fastify"));
  });

  test("prints its version in a root that has nothing else", { skip: noImage }, () => {
    const { status, stdout, stderr } = run(["--version"]);
    assert.deepEqual([status, stdout, stderr], [0, `${packageJson.version}\n`, ""]);
    const help = run(["--help"]);
    assert.match(help.stdout, /^Usage: meshward/);
  });

  test("checks manifests, with the rules and profiles in it", { skip: noImage }, () => {
    const manifest = JSON.stringify({
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      metadata: { name: "a", namespace: "default" },
      spec: { hosts: ["a"], http: [{ route: [1, 2].map((n) => ({ destination: { host: `h${n}` }, weight: n })) }] },
    });
    const { status, stdout } = run(["check", "-"], manifest);
    assert.equal(status, 1);
    assert.match(stdout, /virtual-service-weights-not-100/);
  });

  test("serves as its user, on a file system that it cannot write, and ends when it is asked to", {
    skip: noImage,
  }, async () => {
    const mesh = join(folder, "mesh.yaml");
    cpSync(join(checkout, "policies/tour/1-enrolment/03-workloads.yaml"), mesh);
    const certificates = join(folder, "certificates");
    await selfSigned({ folder: certificates, now: Date.now() });
    // As the fsGroup of a pod does it.
    for (const name of ["tls.crt", "tls.key"]) chownSync(join(certificates, name), 65532, 65532);
    const [path, ...args] = root.command(
      [
        ...["serve", "--mesh", "/etc/mesh.yaml", "--port", "0", "--ops-port", "0", "--drain-seconds", "0"],
        ...["--tls-cert", "/var/run/tls/tls.crt", "--tls-key", "/var/run/tls/tls.key"],
      ],
      {
        mounts: [
          { source: mesh, target: "/etc/mesh.yaml" },
          { source: certificates, target: "/var/run/tls" },
        ],
      },
    );
    const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
    let errors = "";
    child.stderr.on("data", (chunk) => (errors += String(chunk)));
    const ended = once(child, "exit");
    try {
      const lines = createInterface({ input: child.stdout });
      const isServing = (line: string) => line.includes('"msg":"serving"');
      let serving = "";
      for await (const line of lines)
        if (isServing(line)) {
          serving = line;
          break;
        }
      const { port, opsPort } = JSON.parse(serving || "{}") as { readonly port: number; readonly opsPort: number };
      assert.ok(port > 0);
      const answer = await fetch(`http://127.0.0.1:${opsPort}/readyz`);
      assert.equal(answer.status, 200);
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
      assert.match(status, /^Gid:\t65532\t65532\t65532\t65532$/m);
      const environment = readFileSync(`/proc/${child.pid}/environ`, "utf8");
      assert.equal(environment, "");
    } finally {
      child.kill("SIGTERM");
    }
    assert.deepEqual(await ended, [0, null], errors);
  });
});

/** Whether .dockerignore, which leaves everything out at first, has an exception for a path. */
function isInContext(path: string): boolean {
  const lines = readFileSync(join(checkout, ".dockerignore"), "utf8").split("\n");
  assert.equal(
    lines.find((line) => line !== "" && !line.startsWith("#")),
    "*",
  );
  return lines.some((line) => line.startsWith("!") && (path === line.slice(1) || path.startsWith(`${line.slice(1)}/`)));
}
