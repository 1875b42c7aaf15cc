import type { Raw } from "./environment.ts";

// Objects as a controller or a person writes them. Nothing runs: a bare control plane has no nodes.

export const deployment = (namespace: string, name: string, labels: Readonly<Record<string, string>> = {}): Raw => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: name, ...labels } },
    template: {
      metadata: { labels: { app: name, ...labels } },
      spec: { containers: [{ name: "app", image: "example.com/app:1", ports: [{ containerPort: 8080 }] }] },
    },
  },
});

export const service = (namespace: string, name: string): Raw => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace },
  spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
});

/** Traffic of the service `host`, to its subsets by weight. */
export const canary = (namespace: string, host: string, weights: Readonly<Record<string, number>>): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: host, namespace },
  spec: {
    hosts: [host],
    http: [
      {
        name: "primary",
        route: Object.entries(weights).map(([subset, weight]) => ({ destination: { host, subset }, weight })),
      },
    ],
  },
});

export const subsets = (namespace: string, host: string, ...names: readonly string[]): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: { name: host, namespace },
  spec: { host, subsets: names.map((name) => ({ name, labels: { version: name } })) },
});

export const peerAuthentication = (namespace: string, name: string, mode: string): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name, namespace },
  spec: { mtls: { mode } },
});

/** Allows nothing: what denies by default. */
export const denyAll = (namespace: string): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name: "deny-all", namespace },
  spec: {},
});
