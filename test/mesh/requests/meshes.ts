// Short forms of objects in the tests of this folder, as YAML.

/** A namespace: `sidecar`, `ambient`, or not in the mesh. */
export const namespace = (name: string, plane?: "sidecar" | "ambient", labels = ""): string => {
  const enrollment =
    plane === "sidecar" ? "istio-injection: enabled" : plane === "ambient" ? "istio.io/dataplane-mode: ambient" : "";
  const all = [enrollment, labels].filter((one) => one !== "").join(", ");
  return `{ apiVersion: v1, kind: Namespace, metadata: { name: ${name}, labels: { ${all} } } }\n`;
};

/** A Deployment with the label `app`, a service account of its name, and port 8080 with the name `web`. */
export const deployment = (namespace: string, name: string, { app = name, labels = "" } = {}): string => `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  template:
    metadata: { labels: { app: ${app}${labels === "" ? "" : `, ${labels}`} } }
    spec:
      serviceAccountName: ${name}
      containers: [{ name: main, ports: [{ containerPort: 8080, name: web }] }]
`;

/** A Service for the pods with this label, with port 80 for their port 8080. */
export const service = (namespace: string, name: string, { port = "name: http", labels = "" } = {}): string => `---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace}, labels: { ${labels} } }
spec: { selector: { app: ${name} }, ports: [{ ${port}, port: 80, targetPort: 8080 }] }
`;

const istio = (group: string, kind: string, [path, metadata = ""]: readonly string[], spec: string): string => {
  const [namespace = "", name = ""] = (path ?? "").split("/");
  return `---
apiVersion: ${group}/v1
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace}${metadata === "" ? "" : `, ${metadata}`} }
spec:
${spec.replaceAll(/^/gm, "  ")}
`;
};

/** The path is `namespace/name`. */
export const authorizationPolicy = (path: string, spec: string): string =>
  istio("security.istio.io", "AuthorizationPolicy", [path], spec);
export const peerAuthentication = (path: string, mode: string, spec = ""): string =>
  istio("security.istio.io", "PeerAuthentication", [path], `mtls: { mode: ${mode} }\n${spec}`);
export const requestAuthentication = (path: string, spec = "jwtRules: [{ issuer: i }]"): string =>
  istio("security.istio.io", "RequestAuthentication", [path], spec);
export const destinationRule = (path: string, spec: string): string =>
  istio("networking.istio.io", "DestinationRule", [path], spec);
export const virtualService = (path: string, spec: string): string =>
  istio("networking.istio.io", "VirtualService", [path], spec);
export const sidecar = (path: string, spec: string): string => istio("networking.istio.io", "Sidecar", [path], spec);

export const serviceEntry = (path: string, spec: string, metadata = ""): string =>
  istio("networking.istio.io", "ServiceEntry", [path, metadata], spec);
export const workloadEntry = (path: string, spec: string): string =>
  istio("networking.istio.io", "WorkloadEntry", [path], spec);

export const waypoint = (namespace: string, name: string): string => `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE, allowedRoutes: { namespaces: { from: All } } }]
`;

/** The pods of a gateway with the label `app`, and their Service with ports 80 and 443 for 8080 and 8443. */
export const gatewayProxy = (namespace: string, name: string): string => `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  template:
    metadata: { labels: { app: ${name} }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: ${name}, containers: [{ name: istio-proxy, image: auto }] }
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { app: ${name} }
  ports: [{ name: http2, port: 80, targetPort: 8080 }, { name: https, port: 443, targetPort: 8443 }]
`;

/** A Gateway for pods with the label `app` of its name. */
export const gateway = (path: string, servers: readonly string[]): string =>
  istio(
    "networking.istio.io",
    "Gateway",
    [path],
    `selector: { app: ${path.split("/")[1]} }\nservers: [${servers.join(", ")}]`,
  );

/** Clients with sidecars in `web`, and a server with a sidecar in `shop`. */
export const shop = [
  namespace("web", "sidecar"),
  "---\n",
  namespace("shop", "sidecar"),
  deployment("web", "client"),
  deployment("shop", "x"),
  service("shop", "x"),
].join("");
/** The same with ztunnel on both sides. */
export const ambientShop = [
  namespace("web", "ambient"),
  "---\n",
  namespace("shop", "ambient"),
  deployment("web", "client"),
  deployment("shop", "x"),
  service("shop", "x"),
].join("");

/** A route of the Gateway API for the Service `x` of namespace `shop`; the path is `namespace/name`. */
export const httpRoute = (path: string, spec: string, parent = ""): string => {
  const [namespace = "", name = ""] = path.split("/");
  return `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  parentRefs: [{ group: "", kind: Service, namespace: shop, name: x${parent === "" ? "" : `, ${parent}`} }]
${spec.replaceAll(/^/gm, "  ")}
`;
};
