import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import type { KubernetesObject } from "../../src/deploy/object.ts";
import { findOptionalDefinitions } from "./binaries.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, skip, succeeds } from "./environment.ts";
import { chartObjects, isHook, kustomizations, noHelm, type Values } from "./rendered.ts";

// What the chart writes for cert-manager and for the Prometheus operator, against the definitions that these install.

const optional = findOptionalDefinitions();
const missing = "missing" in optional ? optional.missing : false;
const groups = ["cert-manager.io", "monitoring.coreos.com"] as const;
const monitoring = {
  serviceMonitor: { enabled: true },
  prometheusRule: { enabled: true },
  dashboard: { enabled: true },
};
const everything = parse(readFileSync(new URL("golden/values.yaml", import.meta.url), "utf8")) as Values;

describe("objects of operators", { skip: skip || noHelm || missing }, () => {
  let plane: ControlPlane;
  before(async () => {
    if ("missing" in optional) throw new Error(optional.missing);
    plane = await startControlPlane({ binaries: binaries() });
    const files = [
      ...["certificates", "issuers"].map((name) => join(optional["cert-manager.io"], `cert-manager.io_${name}.yaml`)),
      ...["servicemonitors", "prometheusrules"].map((name) =>
        join(optional["monitoring.coreos.com"], `monitoring.coreos.com_${name}.yaml`),
      ),
    ];
    await succeeds(plane, ["apply", "--server-side", ...files.flatMap((file) => ["-f", file])]);
    await succeeds(plane, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
    await succeeds(plane, ["create", "-f", "-"], [namespace("meshward-system"), namespace("istio-system")]);
  });
  after(async () => plane?.close());

  const ofOperators = (values: Values): readonly KubernetesObject[] =>
    chartObjects("helm4", values).filter(
      (object) => !isHook(object) && groups.some((group) => object.apiVersion.startsWith(`${group}/`)),
    );
  const rehearsed = (objects: readonly object[]) =>
    plane.kubectl(["create", "--dry-run=server", "--validate=strict", "--namespace=meshward-system", "-f", "-"], {
      input: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
    });

  for (const [title, values, kinds] of [
    ["cert-manager", { certificates: { source: "cert-manager" } }, ["Certificate", "Certificate", "Issuer", "Issuer"]],
    ["monitoring", monitoring, ["PrometheusRule", "ServiceMonitor"]],
    ["all values at once", everything, undefined],
  ] as const)
    test(`${title}: the API server accepts every field`, async () => {
      const objects = ofOperators(values);
      if (kinds === undefined) assert.ok(objects.length > 1);
      else assert.deepEqual(objects.map(({ kind }) => kind).sort(), kinds);
      const { code, stderr } = await rehearsed(objects);
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /Warning/);
      for (const object of objects) {
        // As a mistake of the chart would be.
        const wrong = { ...object, spec: { ...(object["spec"] as object), secretNmae: "a", endpoint: [] } };
        const refused = await rehearsed([wrong]);
        assert.match(refused.stderr, /unknown field "(?:spec\.)?(?:secretNmae|endpoint)"/);
      }
    });

  for (const overlay of ["cert-manager", "monitoring"])
    test(`the overlay ${overlay} of kustomize is accepted`, async () => {
      const folder = join(kustomizations, "overlays", overlay);
      await succeeds(plane, ["apply", "--server-side", "--dry-run=server", "-k", folder]);
    });
});
