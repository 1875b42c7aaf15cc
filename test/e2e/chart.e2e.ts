import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parse } from "yaml";
import packageJson from "../../package.json" with { type: "json" };
import { defaultInstallation, installation, type InstallationOptions } from "../../src/deploy/installation.ts";
import type { KubernetesObject } from "../../src/deploy/object.ts";
import { yamlOf } from "../../src/deploy/yaml.ts";
import { kustomizeFiles, kustomizeOptions } from "../../src/generate/kustomize.ts";
import { rules } from "../../src/rules/index.ts";
import { helmNames } from "./binaries.ts";
import { type Raw, skip } from "./environment.ts";
import {
  chart,
  chartObjects,
  comparable,
  helm,
  inNamespace,
  isHook,
  kustomizations,
  kustomizeObjects,
  noHelm,
  objectsIn,
  oldest,
  type Values,
} from "./rendered.ts";

// The Helm chart, kustomize and `meshward manifests` give the same objects. Helm and kustomize themselves render them.

const wanted = (options: Partial<InstallationOptions> = {}): readonly KubernetesObject[] =>
  installation(rules, { ...defaultInstallation, ...options });

/** A chart cannot contain the namespace of its release. */
const isInChart = ({ kind }: KubernetesObject): boolean => kind !== "Namespace";

const policies = [
  {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardPolicy",
    metadata: { name: "payments" },
    spec: { protectedNamespaces: { names: ["payments", "team-*"] } },
  },
  {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardException",
    metadata: { name: "migration", namespace: "payments" },
    spec: {
      rules: [{ id: "namespace-mtls-weakened" }],
      reason: "quoted: 'x' {{ }}",
      expiresAt: "2030-01-01T00:00:00Z",
    },
  },
];
const byLabel = defaultInstallation.protectedNamespaces;
const authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/** What the options of an installation are called in the chart. */
const cases: Readonly<Record<string, readonly [Values, Partial<InstallationOptions>]>> = {
  "the defaults": [{}, {}],
  "cert-manager": [{ certificates: { source: "cert-manager" } }, { certificates: "cert-manager" }],
  "a Secret of somebody else": [
    { certificates: { source: "secret" }, webhooks: { caBundle: authority } },
    { certificates: "secret", authority },
  ],
  "failing closed everywhere": [{ webhooks: { failurePolicy: "Fail" } }, { failurePolicy: "Fail" }],
  "failing open everywhere": [
    { webhooks: { protected: { failurePolicy: "Ignore" } } },
    { protectedFailurePolicy: "Ignore" },
  ],
  "failing closed by name only": [
    { webhooks: { protected: { names: ["payments", "001"], labels: { "meshward.io/protected": null } } } },
    { protectedNamespaces: { names: ["001", "payments"] } },
  ],
  "failing closed by another label and by name": [
    {
      webhooks: {
        protected: { names: ["b", "a"], labels: { "meshward.io/protected": null, "example.com/tier": "1" } },
      },
    },
    { protectedNamespaces: { names: ["a", "b"], labels: [{ "example.com/tier": "1" }] } },
  ],
  "failing closed nowhere, because nothing is protected": [
    { webhooks: { protected: { labels: { "meshward.io/protected": null } } } },
    { protectedNamespaces: {} },
  ],
  policies: [{ policies }, { policies: yamlOf(policies), protectedNamespaces: { names: ["payments"], ...byLabel } }],
  monitoring: [
    { serviceMonitor: { enabled: true }, prometheusRule: { enabled: true }, dashboard: { enabled: true } },
    { monitoring: true },
  ],
  "outside of the cluster": [
    { webhooks: { url: "https://gate.example.com/team/", caBundle: authority } },
    { url: "https://gate.example.com/team/", authority },
  ],
  "other numbers and names": [
    {
      ...{ replicas: 5, spread: "required", profile: "strict", istioNamespace: "mesh-root" },
      ...{
        networkPolicy: { enabled: false },
        definitions: { install: false },
        image: { repository: "registry.example.com/gate", tag: "7" },
        clients: { authorityConfigMap: "callers", names: ["kube-apiserver", "a b"] },
      },
    },
    {
      ...{ replicas: 5, spread: "required", profile: "strict", istioNamespace: "mesh-root" },
      ...{ networkPolicy: false, definitions: false, image: "registry.example.com/gate:7" },
      clients: { authorityConfigMap: "callers", names: ["kube-apiserver", "a b"] },
    },
  ],
};

/** The policies as documents, because helm and the yaml package write the same document differently. */
const parsed = (objects: readonly KubernetesObject[]): readonly KubernetesObject[] =>
  objects.map((object) => {
    const data = object["data"] as { "policies.yaml"?: string } | undefined;
    return data?.["policies.yaml"] === undefined ? object : { ...object, data: objectsIn(data["policies.yaml"]) };
  });

describe("the Helm chart", { skip: noHelm }, () => {
  for (const which of helmNames) {
    for (const [name, [values, options]] of Object.entries(cases))
      test(`${which}: gives the objects of manifests: ${name}`, () => {
        const rendered = chartObjects(which, values).filter((object) => !isHook(object));
        assert.deepEqual(
          comparable(parsed(rendered.map(withoutHelmsOwn))),
          JSON.parse(JSON.stringify(comparable(parsed(wanted(options).filter(isInChart))))),
        );
      });

    test(`${which}: has nothing that lint complains of`, () => {
      const { code, stdout, stderr } = helm(which, ["lint", "--strict", chart, ...inNamespace, ...oldest]);
      assert.equal(code, 0, stdout + stderr);
      assert.doesNotMatch(stdout, /\[(?:WARNING|ERROR)\]/);
    });

    test(`${which}: refuses values that contradict each other, in a sentence`, () => {
      const refused: readonly (readonly [Values, RegExp, string?])[] = [
        [{ webhooks: { caBundle: authority } }, /webhooks\.caBundle would be overwritten/],
        [
          { certificates: { source: "self-signed", issuerRef: { name: "x" } } },
          /issuerRef is for certificates\.source cert-manager/,
        ],
        [
          { certificates: { source: "cert-manager", secretName: "x" } },
          /secretName is for certificates\.source secret/,
        ],
        [{ clients: { names: ["x"] } }, /clients\.names needs clients\.authorityConfigMap/],
        [
          { clients: { authorityConfigMap: "x" }, webhooks: { url: "https://gate.example.com" } },
          /clients is about a Meshward in the cluster/,
        ],
        [{ replicas: 1, webhooks: { failurePolicy: "Fail" } }, /every restart would refuse changes/],
        [{ ports: { https: 8080 } }, /ports\.https and ports\.ops are both 8080/],
        [{}, /in Istio's namespace istio-system/, "istio-system"],
        [{}, /in namespace default, whose objects would never be sent/, "default"],
      ];
      for (const [values, message, namespace = "meshward-system"] of refused) {
        const { code, stderr } = helm(
          which,
          ["template", "meshward", chart, "--namespace", namespace, ...oldest],
          values,
        );
        assert.notEqual(code, 0, String(message));
        assert.match(stderr, message);
      }
    });

    test(`${which}: refuses a Kubernetes without match conditions`, () => {
      const { code, stderr } = helm(which, ["template", "meshward", chart, "--kube-version", "1.29.9"]);
      assert.notEqual(code, 0);
      assert.match(stderr, /kubeVersion: >=1\.30\.0-0/);
    });

    test(`${which}: refuses unknown and impossible values by its schema`, () => {
      const refused: readonly (readonly [Values, RegExp])[] = [
        [{ replica: 2 }, /replica/],
        [{ replicas: 0 }, /replicas/],
        [{ webhooks: { failurePolicy: "fail" } }, /failurePolicy/],
        [{ webhooks: { protected: { names: ["team-*"] } } }, /names/],
        [{ webhooks: { protected: { labels: { a: "1" } } } }, /labels/],
        [{ webhooks: { protected: { labels: { "meshward.io/protected": "it's" } } } }, /protected/],
        [{ webhooks: { url: "http://gate.example.com" } }, /url/],
        [{ webhooks: { caBundle: "TUlJQg==" } }, /caBundle/],
        [{ policies: [{ kind: "ClusterPolicy" }] }, /policies/],
        [{ image: { digest: "0123" } }, /digest/],
        [{ istioNamespace: "Istio" }, /istioNamespace/],
      ];
      for (const [values, message] of refused) {
        const { code, stderr } = helm(which, ["template", "meshward", chart, ...inNamespace, ...oldest], values);
        assert.notEqual(code, 0, JSON.stringify(values));
        assert.match(stderr, message);
      }
    });

    test(`${which}: takes everything else that its values offer`, () => {
      const values = parse(readFileSync(new URL("golden/values.yaml", import.meta.url), "utf8")) as Values;
      const golden = readFileSync(new URL("golden/objects.yaml", import.meta.url), "utf8");
      const shown = new Set(["Deployment", "ServiceMonitor", "NetworkPolicy", "PodDisruptionBudget", "Certificate"]);
      const rendered = chartObjects(which, values).filter(
        (object) => shown.has(object.kind) || (isHook(object) && object.kind !== "ServiceAccount"),
      );
      assert.deepEqual(comparable(rendered), comparable(objectsIn(golden)));
    });
  }

  test("its notes say what a certificate of somebody else still needs", () => {
    const notes = (values: Values): string => {
      const { code, stdout, stderr } = helm(
        "helm4",
        ["install", "meshward", chart, ...inNamespace, "--dry-run=client", "--hide-notes=false"],
        values,
      );
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const source = { certificates: { source: "secret" } };
    assert.match(notes(source), /webhooks\.caBundle is empty, so the API server will accept no certificate/);
    const authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    assert.doesNotMatch(notes({ ...source, webhooks: { caBundle: authority } }), /caBundle is empty/);
    assert.doesNotMatch(notes({}), /caBundle is empty/);
  });

  test("the Service selects the pods of the Deployment, and neither those of hooks nor of tests", () => {
    const objects = chartObjects("helm4") as readonly (KubernetesObject & Raw)[];
    const service = objects.find(({ kind }) => kind === "Service") as Raw;
    const selected = objects.filter((object) => {
      const labels = object.kind === "Pod" ? object.metadata.labels : object["spec"]?.template?.metadata?.labels;
      const entries = Object.entries(service["spec"].selector);
      return labels !== undefined && entries.every(([key, value]) => labels[key] === value);
    });
    assert.deepEqual(
      selected.map(({ kind }) => kind),
      ["Deployment"],
    );
    assert.ok(objects.some(({ kind }) => kind === "Pod") && objects.some(({ kind }) => kind === "Job"));
  });

  test("its version is that of the program", () => {
    const { version, appVersion } = parse(readFileSync(join(chart, "Chart.yaml"), "utf8")) as Record<string, string>;
    assert.deepEqual([version, appVersion], [packageJson.version, packageJson.version]);
  });
});

describe("kustomize", { skip }, () => {
  test("the base gives the objects of manifests", () => {
    assert.deepEqual(
      comparable(kustomizeObjects(join(kustomizations, "base"))),
      JSON.parse(JSON.stringify(comparable(wanted()))),
    );
  });

  const overlays = globSync("overlays/*", { cwd: kustomizations }).map((path) => path.slice("overlays/".length));
  for (const name of overlays)
    test(`the overlay ${name} gives the objects of manifests with its options`, () => {
      assert.deepEqual(
        comparable(kustomizeObjects(join(kustomizations, "overlays", name))),
        JSON.parse(JSON.stringify(comparable(wanted(kustomizeOptions[name])))),
      );
    });

  test("there is nothing but what is generated", () => {
    assert.ok(overlays.length > 2);
    const written = globSync("**/*.yaml", { cwd: kustomizations }).map((path) => `deploy/kustomize/${path}`);
    assert.deepEqual(new Set(written), new Set(kustomizeFiles(rules).map(({ path }) => path)));
  });
});

/** The API server's own default for an image with a version. */
function withoutHelmsOwn(object: KubernetesObject): KubernetesObject {
  if (object.kind === "CustomResourceDefinition") {
    // Of Helm alone: the definitions survive an uninstall.
    const { annotations, ...metadata } = object.metadata;
    assert.deepEqual(annotations, { "helm.sh/resource-policy": "keep" });
    return { ...object, metadata };
  }
  if (object.kind !== "Deployment") return object;
  const copy = structuredClone(object) as KubernetesObject & {
    spec: { template: { spec: { containers: Record<string, unknown>[] } } };
  };
  for (const container of copy.spec.template.spec.containers) delete container["imagePullPolicy"];
  return copy;
}
