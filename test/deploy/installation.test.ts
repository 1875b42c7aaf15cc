import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  certificateKinds,
  defaultInstallation,
  installation,
  type InstallationOptions,
} from "../../src/deploy/installation.ts";
import type { KubernetesObject } from "../../src/deploy/object.ts";
import { readRules } from "../../src/deploy/permissions.ts";
import { kindsOfRules } from "../../src/cli/cluster-options.ts";
import { kinds } from "../../src/kube/kinds.ts";
import { rules } from "../../src/rules/index.ts";

// oxlint-disable-next-line no-explicit-any -- objects are looked into field by field
type Raw = Record<string, any>;

const objects = (options: Partial<InstallationOptions> = {}): readonly (KubernetesObject & Raw)[] =>
  installation(rules, { ...defaultInstallation, ...options });
const find = (kind: string, options: Partial<InstallationOptions> = {}, name = "meshward"): Raw => {
  const found = objects(options).filter((object) => object.kind === kind && object.metadata.name === name);
  assert.equal(found.length, 1, `${found.length} objects ${kind} ${name}`);
  return found[0] as Raw;
};
const kindsIn = (options: Partial<InstallationOptions> = {}) => new Set(objects(options).map(({ kind }) => kind));

describe("permissions", () => {
  const clusterRules = (): readonly Raw[] => find("ClusterRole")["rules"];

  test("exactly the kinds that are followed can be read in all namespaces", () => {
    const granted = clusterRules()
      .filter(({ resources, verbs }) => verbs.join() === "get,list,watch" && !resources.includes("meshwardpolicies"))
      .flatMap(({ apiGroups, resources }) => resources.map((resource: string) => `${apiGroups[0]}/${resource}`));
    const followed = kindsOfRules
      .filter((kind) => kind !== "MeshConfig" && kind !== "InjectorConfig")
      .flatMap((kind) => kinds[kind].served.map(({ group, plural }) => `${group}/${plural}`));
    assert.deepEqual(new Set(granted), new Set(followed));
    assert.ok(granted.length > 20);
  });

  test("rules that read less need less", () => {
    const resources = readRules(rules.filter(({ id }) => id === "virtual-service-weights-not-100")).flatMap(
      ({ resources }) => resources,
    );
    assert.ok(resources.includes("virtualservices"));
    assert.ok(resources.includes("namespaces"));
    assert.ok(!resources.includes("pods"));
  });

  test("nothing can be read or written by wildcard, and no Secret or ConfigMap in all namespaces", () => {
    const all = objects().filter(({ kind }) => kind === "ClusterRole" || kind === "Role");
    assert.ok(all.length > 1);
    for (const { kind, rules } of all)
      for (const { apiGroups, resources, verbs } of rules as Raw[]) {
        assert.doesNotMatch([...apiGroups, ...resources, ...verbs].join(), /\*/);
        if (kind === "ClusterRole") assert.doesNotMatch(resources.join(), /secrets|configmaps/);
      }
  });

  test("a Secret can be written only where Meshward has an authority of its own, and only that one", () => {
    const onSecrets = (options: Partial<InstallationOptions>): readonly Raw[] =>
      objects(options)
        .filter(({ kind }) => kind === "Role" || kind === "ClusterRole")
        .flatMap(({ rules, metadata }) => (rules as Raw[]).map((rule) => ({ ...rule, in: metadata.namespace })))
        .filter(({ resources }: Raw) => resources.includes("secrets"));
    const granted = onSecrets({ certificates: "self-signed" });
    assert.ok(granted.length > 0);
    for (const { in: namespace, resourceNames, verbs } of granted) {
      assert.equal(namespace, "meshward-system");
      // RBAC cannot limit the creation of an object to a name.
      if (verbs.join() !== "create") assert.deepEqual(resourceNames, ["meshward-tls"]);
    }
    assert.deepEqual(onSecrets({ certificates: "cert-manager" }), []);
    assert.deepEqual(onSecrets({ certificates: "secret" }), []);
    assert.deepEqual(onSecrets({ url: "https://gate.example.com" }), []);
  });

  test("ConfigMaps are read in Istio's namespace only", () => {
    const roles = objects({ istioNamespace: "mesh-root" }).filter(({ kind }) => kind === "Role");
    const role = roles.find(({ metadata }) => metadata.namespace === "mesh-root");
    assert.deepEqual(role?.["rules"], [
      { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] },
    ]);
  });

  test("every binding is to the service account of the pods", () => {
    const namespace = "gatekeeping";
    const bindings = objects({ namespace }).filter(({ kind }) => kind.endsWith("Binding"));
    assert.ok(bindings.length >= 2);
    for (const { subjects } of bindings)
      assert.deepEqual(subjects, [{ kind: "ServiceAccount", name: "meshward", namespace }]);
    const pod = find("Deployment", { namespace })["spec"].template.spec;
    assert.equal(pod.serviceAccountName, find("ServiceAccount", { namespace })["metadata"].name);
  });
});

describe("the pods", () => {
  const pod = (options: Partial<InstallationOptions> = {}): Raw => find("Deployment", options)["spec"].template;
  const container = (options: Partial<InstallationOptions> = {}): Raw => pod(options)["spec"].containers[0];

  test("fulfil the Pod Security Standard restricted, which their namespace enforces", () => {
    const { securityContext, containers, hostNetwork, hostPID, hostIPC, volumes } = pod()["spec"];
    assert.deepEqual([hostNetwork, hostPID, hostIPC], [undefined, undefined, undefined]);
    assert.equal(securityContext.runAsNonRoot, true);
    assert.ok(securityContext.runAsUser > 0);
    assert.deepEqual(securityContext.seccompProfile, { type: "RuntimeDefault" });
    for (const { securityContext: own } of containers) {
      assert.equal(own.allowPrivilegeEscalation, false);
      assert.equal(own.readOnlyRootFilesystem, true);
      assert.deepEqual(own.capabilities, { drop: ["ALL"] });
    }
    const allowed = new Set(["configMap", "secret", "projected", "emptyDir", "downwardAPI"]);
    for (const { name, ...source } of volumes)
      assert.ok(
        Object.keys(source).every((key) => allowed.has(key)),
        name,
      );
    const { labels } = find("Namespace", {}, "meshward-system")["metadata"];
    assert.equal(labels["pod-security.kubernetes.io/enforce"], "restricted");
  });

  test("stay out of the mesh by two labels, as their namespace does", () => {
    assert.equal(pod()["metadata"].labels["sidecar.istio.io/inject"], "false");
    assert.equal(pod()["metadata"].labels["istio.io/dataplane-mode"], "none");
    const { labels } = find("Namespace", {}, "meshward-system")["metadata"];
    assert.equal(labels["istio-injection"], "disabled");
    assert.equal(labels["istio.io/dataplane-mode"], "none");
  });

  test("are selected by the Service, the budget and the policy, and the Service's ports exist", () => {
    const { labels } = pod()["metadata"];
    const selectors = [
      find("Service")["spec"].selector,
      find("PodDisruptionBudget")["spec"].selector.matchLabels,
      find("NetworkPolicy")["spec"].podSelector.matchLabels,
      find("Deployment")["spec"].selector.matchLabels,
    ];
    for (const selector of selectors) {
      assert.ok(Object.keys(selector).length > 0);
      for (const [key, value] of Object.entries(selector)) assert.equal(labels[key], value);
    }
    const ports = container()["ports"].map(({ name }: Raw) => name);
    assert.deepEqual(
      find("Service")["spec"].ports.map(({ targetPort }: Raw) => targetPort),
      ports,
    );
    const { ingress } = find("NetworkPolicy")["spec"];
    const opened = ingress.flatMap(({ ports }: Raw) => ports).map(({ port }: Raw) => port);
    assert.deepEqual(
      opened,
      container()["ports"].map(({ containerPort }: Raw) => containerPort),
    );
  });

  test("mount every volume that they have, read-only, and have every volume that they mount", () => {
    for (const policies of [undefined, "kind: MeshwardPolicy\n"])
      for (const certificates of certificateKinds) {
        const options = { certificates, ...(policies === undefined ? {} : { policies }) };
        const mounts: Raw[] = container(options)["volumeMounts"];
        const { volumes } = pod(options)["spec"];
        assert.deepEqual(new Set(mounts.map(({ name }) => name)), new Set(volumes.map(({ name }: Raw) => name)));
        assert.ok(mounts.every(({ readOnly }) => readOnly));
        assert.equal(
          container(options)["args"].some((arg: string) => arg.startsWith("--policies=")),
          policies !== undefined,
        );
      }
  });

  test("have time to drain before they are killed", () => {
    assert.ok(pod()["spec"].terminationGracePeriodSeconds >= 10 + 20);
  });
});

describe("the webhooks", () => {
  const webhooks = (options: Partial<InstallationOptions> = {}): readonly Raw[] =>
    ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"].flatMap(
      (kind) => find(kind, options)["webhooks"],
    );

  test("call the Service of the installation, without a caBundle that cert-manager sets", () => {
    const options = { namespace: "gatekeeping", certificates: "cert-manager" } as const;
    const service = find("Service", options);
    for (const { clientConfig } of webhooks(options)) {
      assert.equal(clientConfig.service.name, service["metadata"].name);
      assert.equal(clientConfig.service.namespace, service["metadata"].namespace);
      assert.equal(clientConfig.service.port, service["spec"].ports[0].port);
      assert.equal("caBundle" in clientConfig, false);
    }
    const { annotations } = find("ValidatingWebhookConfiguration", options)["metadata"];
    assert.deepEqual(annotations, { "cert-manager.io/inject-ca-from": "gatekeeping/meshward" });
  });

  test("come last, so that what answers them exists before", () => {
    const order = objects().map(({ kind }) => kind);
    assert.deepEqual(order.slice(-2), ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"]);
    assert.equal(order[0], "Namespace");
  });

  test("no other Service is named in the certificate", () => {
    const { dnsNames } = find("Certificate", { namespace: "gatekeeping", certificates: "cert-manager" })["spec"];
    assert.deepEqual(dnsNames, ["meshward.gatekeeping.svc", "meshward.gatekeeping.svc.cluster.local"]);
  });
});

describe("what is left out", () => {
  test("cert-manager's objects, if somebody else writes the Secret", () => {
    const options = { certificates: "secret" as const, authority: "-----BEGIN CERTIFICATE-----\n" };
    assert.equal(kindsIn(options).has("Certificate"), false);
    const configuration = find("ValidatingWebhookConfiguration", options);
    assert.equal(configuration["metadata"].annotations, undefined);
    assert.equal(
      Buffer.from(configuration["webhooks"][0].clientConfig.caBundle, "base64").toString(),
      options.authority,
    );
  });

  test("everything that runs, if Meshward runs outside of the cluster", () => {
    const outside = kindsIn({ url: "https://meshward.example.com" });
    assert.deepEqual(
      [...outside].sort(),
      [
        ...[
          "ClusterRole",
          "ClusterRoleBinding",
          "CustomResourceDefinition",
          "MutatingWebhookConfiguration",
          "Namespace",
          "Role",
          "RoleBinding",
        ],
        ...["ServiceAccount", "ValidatingWebhookConfiguration"],
      ].sort(),
    );
    const { clientConfig } = find("MutatingWebhookConfiguration", { url: "https://meshward.example.com/" })[
      "webhooks"
    ][0];
    assert.equal(clientConfig.url, "https://meshward.example.com/mutate");
  });

  test("the NetworkPolicy and policies", () => {
    assert.equal(kindsIn({ networkPolicy: false }).has("NetworkPolicy"), false);
    assert.equal(kindsIn().has("ConfigMap"), false);
    assert.equal(kindsIn({ policies: "{}" }).has("ConfigMap"), true);
  });
});
