import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { meshward as command, type Ran } from "../cli/terminal.ts";
import { type ControlPlane, type Output, startControlPlane } from "./control-plane.ts";
import {
  binaries,
  isDenied,
  isFree,
  isQuiet,
  namespace,
  type Raw,
  skip,
  succeeds,
  virtualService,
} from "./environment.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";
import { service } from "./workloads.ts";

// A cluster of Istio whose definitions of the Gateway API come, change their versions and go, under one Meshward that runs all the
// time, with what `audit` and `capture` say of each of these clusters.

const at = "shop";
const group = "gateway.networking.k8s.io";

const gateway = (version: string): Raw => ({
  apiVersion: `${group}/${version}`,
  kind: "Gateway",
  metadata: { name: "edge", namespace: at },
  spec: {
    gatewayClassName: "istio",
    listeners: [
      { name: "tls", port: 443, protocol: "TLS", tls: { mode: "Passthrough" } },
      { name: "http", port: 80, protocol: "HTTP" },
    ],
  },
});
/** A route of which the backend does not exist. */
const route = (kind: string, version: string, sectionName: string): Raw => ({
  apiVersion: `${group}/${version}`,
  kind,
  metadata: { name: kind.toLowerCase(), namespace: at },
  spec: {
    parentRefs: [{ name: "edge", sectionName }],
    hostnames: ["shop.example.com"],
    rules: [{ backendRefs: [{ name: "missing", port: 80 }] }],
  },
});

describe("definitions of the Gateway API", { skip }, () => {
  let plane: ControlPlane;
  let meshward: Meshward;
  let definitions: ReadonlyMap<string, Raw>;

  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), controllers: true });
    const folder = binaries().definitions;
    definitions = new Map(
      readdirSync(folder)
        .flatMap((file) => parseAllDocuments(readFileSync(join(folder, file), "utf8")).map((one) => one.toJS() as Raw))
        .filter((one) => one?.["kind"] === "CustomResourceDefinition")
        .map((one) => [one["metadata"].name, one]),
    );
    await define([...definitions.values()].filter((one) => one["spec"].group !== group));
    meshward = await startMeshward({ plane });
    await meshward.ready();
    await register(plane, meshward);
    await succeeds(plane, ["apply", "-f", "-"], [namespace(at), service(at, "web")]);
  });
  after(async () => {
    await meshward?.stop();
    await plane?.close();
  });

  async function define(all: readonly Raw[]): Promise<void> {
    await succeeds(plane, ["apply", "--server-side", "--force-conflicts", "-f", "-"], all);
    await until("the definitions", async () => {
      await succeeds(plane, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
      return true;
    });
  }
  /** A definition of which the API server serves only this version. */
  function onlyServed(plural: string, version: string): Raw {
    const definition = structuredClone(definitions.get(`${plural}.${group}`)) as Raw;
    for (const one of definition["spec"].versions) one.served = one.name === version;
    return definition;
  }
  const apply = (object: Raw): Promise<Output> =>
    plane.kubectl(["apply", "-f", "-"], { as: "tenant", input: JSON.stringify(object) });
  async function ran(...argv: readonly string[]): Promise<Ran> {
    const found = await command([...argv, "--kubeconfig", plane.kubeconfig("admin")]);
    assert.equal(found.code, 0, `${found.error}${found.out}`);
    return found;
  }
  const audited = async () => (await ran("audit", "--mesh", "cluster")).out;
  let captures = 0;
  async function captured(): Promise<readonly Raw[]> {
    const file = join(plane.folder, `capture-${++captures}.json`);
    await ran("capture", "--output", file);
    return (JSON.parse(readFileSync(file, "utf8")) as { items: readonly Raw[] }).items;
  }
  const states = async (): Promise<string> => (await meshward.ops("/readyz?verbose"))?.body ?? "";
  const isAbsent = (plural: string, body: string) => body.includes(`${plural}.${group} absent`);
  const becomes = (state: "absent" | "known", ...plurals: readonly string[]) =>
    until(
      `${plurals.join(", ")} to be ${state}`,
      async () => {
        const body = await states();
        return plurals.every((one) => isAbsent(one, body) === (state === "absent")) ? true : undefined;
      },
      { timeoutMs: 90_000 },
    );
  /** What does not need the Gateway API is judged in each of these clusters. */
  async function stillJudges(): Promise<void> {
    isDenied(await apply(virtualService(at, "unbalanced", [90, 20])), /virtual-service-weights-not-100/);
    isFree(await apply(virtualService(at, `fine-${Math.random().toString(36).slice(2, 8)}`, [100])), /Gateway API/);
  }
  const warnsOfBackend = ({ code, stderr }: Output) => {
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Warning: .*\[http-route-backend-not-found\] .*: Service shop\/missing does not exist/);
  };

  test("without them: ready, and what needs them is left out and named", async () => {
    assert.ok(isAbsent("gateways", await states()) && isAbsent("httproutes", await states()));
    await stillJudges();
    const { out, error } = await ran("audit", "--mesh", "cluster");
    assert.match(`${out}${error}`, new RegExp(`httproutes\\.${group.replaceAll(".", "\\.")} absent`));
    assert.equal(
      (await captured()).some((one) => String(one["apiVersion"]).startsWith(group)),
      false,
    );
    // No Gateway is known, which is no reason to say that the waypoint is missing.
    isQuiet(await apply({ ...namespace(at), metadata: { name: at, labels: { "istio.io/use-waypoint": "way" } } }));
    isQuiet(await apply(namespace(at)));
  });

  test("of an old version, without routes of TLS: known soon, and judged in that version", async () => {
    await define(["gateways", "httproutes", "referencegrants"].map((plural) => onlyServed(plural, "v1beta1")));
    await becomes("known", "gateways", "httproutes", "referencegrants");
    isFree(await apply(gateway("v1beta1")), /not-found/);
    warnsOfBackend(await apply(route("HTTPRoute", "v1beta1", "http")));
    assert.ok(isAbsent("tlsroutes", await states()));
    await stillJudges();
    assert.match(await audited(), /http-route-backend-not-found/);
    const kept = (await captured()).filter((one) => one["apiVersion"] === `${group}/v1beta1`);
    assert.deepEqual(new Set(kept.map((one) => one["kind"])), new Set(["Gateway", "HTTPRoute"]));
  });

  test("an experimental version of one more kind, then the standard version of all of them", async () => {
    await define([onlyServed("tlsroutes", "v1alpha2")]);
    await becomes("known", "tlsroutes");
    warnsOfBackend(await apply(route("TLSRoute", "v1alpha2", "tls")));
    await define([...definitions.values()].filter((one) => one["spec"].group === group));
    await becomes("known", "grpcroutes", "tcproutes", "tlsroutes");
    warnsOfBackend(await apply(route("TLSRoute", "v1", "tls")));
    warnsOfBackend(await apply(route("HTTPRoute", "v1", "http")));
    const findings = await audited();
    assert.match(findings, /TLSRoute/);
    await stillJudges();
  });

  test("they go: what was known of them is forgotten, and they can come back", async () => {
    const names = [...definitions.keys()].filter((name) => name.endsWith(`.${group}`));
    // An API server that deletes a definition before it has ever listed objects of it may never find its storage ready.
    for (const name of names) await succeeds(plane, ["get", name, "--all-namespaces"]);
    await succeeds(plane, ["delete", "crd", ...names, "--wait=true"]);
    await becomes("absent", "gateways", "httproutes", "tlsroutes");
    await stillJudges();
    assert.doesNotMatch(await audited(), /requests to it get 500/);
    await define([...definitions.values()].filter((one) => one["spec"].group === group));
    await becomes("known", "gateways", "httproutes", "tlsroutes");
    isFree(await apply(gateway("v1")), /not-found/);
    warnsOfBackend(await apply(route("HTTPRoute", "v1", "http")));
  });
});
