import { connect, type PeerCertificate } from "node:tls";
import { counted } from "../text/phrases.ts";
import { type CheckResult, fail, ok, unknown, warn } from "./check-result.ts";
import { at, type ClusterApi, type Fields, objectsIn, textAt } from "./cluster-api.ts";
import { pemOf } from "./webhooks.ts";

/** Where the API server calls Meshward. */
export type Address =
  | { readonly url: string }
  | { readonly service: string; readonly namespace: string; readonly port: number };

export function addressOf(webhook: Fields | undefined): Address | undefined {
  const url = textAt(webhook, "clientConfig", "url");
  if (url !== "") return { url };
  const service = textAt(webhook, "clientConfig", "service", "name");
  const port = at(webhook, "clientConfig", "service", "port");
  if (service === "") return undefined;
  return {
    service,
    namespace: textAt(webhook, "clientConfig", "service", "namespace"),
    port: typeof port === "number" ? port : 443,
  };
}

/** The Service that the API server calls, and the replicas behind it. Throws a ClusterError. */
export async function checkService(api: ClusterApi, address: Address | undefined): Promise<readonly CheckResult[]> {
  if (address === undefined || "url" in address) return [];
  const { service, namespace, port } = address;
  const title = `Service ${namespace}/${service}`;
  const found = await api.get(`/api/v1/namespaces/${namespace}/services/${service}`);
  if (found === undefined)
    return [
      fail("service", `${title} does not exist, so the API server cannot call Meshward`, "Install Meshward again"),
    ];
  if (!objectsIn(at(found, "spec", "ports")).some((one) => one["port"] === port))
    return [
      fail("service", `${title} has no port ${port}, which the webhooks name`, "Set the same port in both of them"),
    ];
  const selector = new URLSearchParams({ labelSelector: `kubernetes.io/service-name=${service}` }).toString();
  const slices = await api.list(`/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?${selector}`);
  const ready = new Set(
    (slices ?? [])
      .flatMap((slice) => objectsIn(slice["endpoints"]))
      .filter((endpoint) => at(endpoint, "conditions", "ready") !== false)
      .map((endpoint) => JSON.stringify(endpoint["addresses"])),
  );
  if (ready.size === 0)
    return [
      fail(
        "endpoints",
        `${title} has no replica that is ready: the API server cannot call Meshward`,
        `kubectl -n ${namespace} get pods, and look at /readyz?verbose of a pod and at its log`,
      ),
    ];
  const text = `${title} has ${counted(ready.size, "replica")} that ${ready.size === 1 ? "is" : "are"} ready`;
  return [
    ready.size === 1
      ? warn("endpoints", text, "Run at least two replicas, so that a restart does not interrupt reviews")
      : ok("endpoints", text),
  ];
}

const handshakeMs = 3_000;
const soonMs = 7 * 86_400_000;

/**
 * The certificate that Meshward serves: whether an authority of caBundle issued it, for the right name, and until when.
 * Inside the cluster, the Service is called as the API server calls it.
 */
export async function checkServed(
  address: Address | undefined,
  bundle: string,
  now: number,
): Promise<readonly CheckResult[]> {
  if (address === undefined) return [];
  const { host, name, port } = targetOf(address);
  const served = await handshake(host, name, port, pemOf(bundle));
  const title = `${name}:${port}`;
  if ("unreachable" in served)
    return [
      unknown(
        "certificate",
        `${title} cannot be reached from here (${served.unreachable}), so its certificate was not seen`,
        "The self-test shows whether the API server accepts it. To see it, run doctor inside the cluster",
      ),
    ];
  if (served.problem !== undefined)
    return [
      fail(
        "certificate",
        `The API server will not accept the certificate of ${title}: ${served.problem}`,
        "Give Meshward a certificate for this name from an authority of caBundle, or renew it",
      ),
    ];
  const end = Date.parse(served.certificate.valid_to);
  const text = `${title} has a certificate from an authority of caBundle, until ${new Date(end).toISOString()}`;
  return [
    end - now < soonMs
      ? warn("certificate", text, "Look at what renews it: Meshward's log, or the Certificate of cert-manager")
      : ok("certificate", text),
  ];
}

function targetOf(address: Address): { readonly host: string; readonly name: string; readonly port: number } {
  if ("url" in address) {
    const { hostname, port } = new URL(address.url);
    const host = hostname.replace(/^\[|\]$/g, "");
    return { host, name: host, port: Number(port || 443) };
  }
  const name = `${address.service}.${address.namespace}.svc`;
  return { host: name, name, port: address.port };
}

type Served =
  | { readonly certificate: PeerCertificate; readonly problem: string | undefined }
  | { readonly unreachable: string };

function handshake(host: string, name: string, port: number, ca: string): Promise<Served> {
  return new Promise((resolve) => {
    // An IP address is no server name of TLS, but the certificate has to contain it.
    const servername = /^[\d.]+$|:/.test(name) ? {} : { servername: name };
    const socket = connect({ host, port, ca, ...servername, rejectUnauthorized: false, timeout: handshakeMs });
    const finish = (served: Served): void => {
      socket.destroy();
      resolve(served);
    };
    socket.once("secureConnect", () =>
      finish({
        certificate: socket.getPeerCertificate(),
        problem: socket.authorized ? undefined : String(socket.authorizationError),
      }),
    );
    socket.once("timeout", () => finish({ unreachable: `no answer within ${handshakeMs / 1_000} s` }));
    socket.once("error", (error: NodeJS.ErrnoException) => finish({ unreachable: error.code ?? error.message }));
  });
}
