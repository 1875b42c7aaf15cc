/** Requests at port 80 go to the gateway over mTLS, which lets in the runner alone. */
export const egressGateway = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: egress, namespace: infra }
spec:
  selector: { matchLabels: { app: egress } }
  template:
    metadata: { labels: { app: egress }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: egress, containers: [{ name: istio-proxy, image: auto }] }
---
apiVersion: v1
kind: Service
metadata: { name: egress, namespace: infra }
spec: { selector: { app: egress }, ports: [{ name: https, port: 443, targetPort: 8443 }] }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: artifacts, namespace: infra }
spec:
  hosts: [artifacts.example.com]
  resolution: DNS
  ports: [{ number: 80, name: http, protocol: HTTP }, { number: 443, name: https, protocol: HTTPS }]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: egress, namespace: infra }
spec:
  selector: { app: egress }
  servers: [{ port: { number: 443, name: https, protocol: HTTPS }, hosts: [artifacts.example.com], tls: { mode: ISTIO_MUTUAL } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: egress, namespace: infra }
spec:
  host: egress.infra.svc.cluster.local
  trafficPolicy: { tls: { mode: ISTIO_MUTUAL, sni: artifacts.example.com } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: artifacts, namespace: infra }
spec:
  hosts: [artifacts.example.com]
  gateways: [egress, mesh]
  http:
  - match: [{ gateways: [mesh], port: 80 }]
    route: [{ destination: { host: egress.infra.svc.cluster.local, port: { number: 443 } } }]
  - match: [{ gateways: [egress], port: 443 }]
    route: [{ destination: { host: artifacts.example.com, port: { number: 443 } } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: only-runner, namespace: infra }
spec:
  selector: { matchLabels: { app: egress } }
  rules: [{ from: [{ source: { principals: [cluster.local/ns/builds/sa/runner] } }] }]
---`;
