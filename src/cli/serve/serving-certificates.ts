import { X509Certificate } from "node:crypto";
import { AuthorityCertificates } from "../../controllers/authority-certificates.ts";
import { CaBundle } from "../../controllers/ca-bundle.ts";
import { CertificateAuthority } from "../../controllers/certificate-authority.ts";
import type { Election } from "../../controllers/election.ts";
import { WebhookConfigurations } from "../../controllers/webhook-configurations.ts";
import type { ReadinessCheck } from "../../http/readiness.ts";
import type { ClusterConnection } from "../../sources/cluster/connection.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ControllerSample, Metrics } from "../../telemetry/metrics.ts";
import { UsageError } from "../../text/usage-error.ts";
import type { CertificateSource } from "../../tls/certificate-source.ts";
import { systemClock } from "../../tls/clock.ts";
import { mountedFiles } from "../../tls/mounted-files.ts";
import { phaseOf } from "../../tls/rotation.ts";
import { unsavedSelfSigned } from "../../tls/self-signed.ts";
import type { Terminal } from "../terminal.ts";

export interface CertificateOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly selfSigned?: boolean;
  readonly tlsHost: readonly string[];
  readonly certs: string;
  readonly tlsSecret?: string;
  readonly service?: string;
  readonly webhookConfiguration: string;
  /** Seconds. */
  readonly rotationWait: number;
  readonly clusterDomain: string;
}

/** The cluster, for certificates that are kept in it. */
export interface CertificateCluster {
  readonly connection: ClusterConnection | undefined;
  /** Meshward's own namespace. */
  readonly namespace: string | undefined;
  readonly election: Election | undefined;
  readonly metrics: Metrics;
}

/** The certificate that the server uses, and what is known about it. */
export interface ServingCertificates {
  readonly source: CertificateSource;
  readonly checks: readonly ReadinessCheck[];
  sample(): Pick<ControllerSample, "authority" | "isTrusted">;
  /** Called when the ports are open. Throws a CertificateError if the certificate's files cannot be written. */
  announce(): void;
  close(): Promise<void>;
}

type Start = (cluster: CertificateCluster) => Promise<ServingCertificates> | ServingCertificates;

/**
 * Chooses how the server gets its certificate. Throws a UsageError or CertificateError for options that contradict each
 * other and files that cannot be used, before anything is started.
 */
export async function servingCertificates(options: CertificateOptions, terminal: Terminal, log: Log): Promise<Start> {
  checkOptions(options);
  const { tlsCert, tlsKey, tlsSecret, selfSigned } = options;
  if (tlsSecret !== undefined) return (cluster) => fromSecret({ ...options, tlsSecret }, cluster, log);
  if (selfSigned) {
    const made = await selfSignedHere(options, terminal, log);
    return () => made;
  }
  if (tlsCert === undefined || tlsKey === undefined)
    throw new UsageError(
      "the webhook needs a certificate: in a cluster give --tls-secret, elsewhere give --tls-cert and --tls-key, or --self-signed",
    );
  const source = mountedFiles({ certPath: tlsCert, keyPath: tlsKey, clock: systemClock });
  return () => fixed(source);
}

const fixed = (source: CertificateSource, announce: () => void = () => undefined): ServingCertificates => ({
  source,
  checks: [],
  sample: () => ({}),
  announce,
  close: async () => undefined,
});

/** Says what contradicts what, for the first pair that does. */
function checkOptions(options: CertificateOptions): void {
  const { tlsCert, tlsKey, selfSigned = false, tlsSecret, service, tlsHost } = options;
  const hasFiles = tlsCert !== undefined || tlsKey !== undefined;
  const hasSecret = tlsSecret !== undefined;
  const contradictions: readonly (readonly [boolean, string])[] = [
    [
      selfSigned && hasFiles,
      "--self-signed creates its own certificate; remove either --self-signed, or --tls-cert and --tls-key",
    ],
    [hasSecret && selfSigned, "--tls-secret keeps its own authority; remove either --tls-secret or --self-signed"],
    [
      hasSecret && hasFiles,
      "--tls-secret keeps its own authority; remove either --tls-secret, or --tls-cert and --tls-key",
    ],
    [
      !hasSecret && service !== undefined,
      "--service is for the certificate that --tls-secret issues; give --tls-secret, or remove --service",
    ],
    [
      hasSecret && service === undefined && tlsHost.length === 0,
      "--tls-secret needs to know how the API server calls Meshward: give --service, or --tls-host outside of a cluster",
    ],
  ];
  const found = contradictions.find(([isThere]) => isThere);
  if (found !== undefined) throw new UsageError(found[1]);
}

async function selfSignedHere({ certs, tlsHost }: CertificateOptions, terminal: Terminal, log: Log) {
  const made = await unsavedSelfSigned({ folder: certs, hosts: tlsHost, now: Date.now() });
  return fixed(made.certificates, () => {
    made.save();
    log.info(
      { authority: made.caPath },
      "certificate was created; put its CA into caBundle of the webhook configuration",
    );
    terminal.hint?.(
      `The certificate of the webhook's CA is ${made.caPath}; put it into caBundle of the webhook configuration\n`,
    );
  });
}

async function fromSecret(
  options: CertificateOptions & { readonly tlsSecret: string },
  { connection, namespace, election, metrics }: CertificateCluster,
  log: Log,
): Promise<ServingCertificates> {
  if (connection === undefined || namespace === undefined || election === undefined)
    throw new UsageError(
      connection === undefined
        ? "--tls-secret is kept in a cluster; give --mesh cluster, or another kind of certificate"
        : "--tls-secret is in Meshward's own namespace, which is not known outside of a pod; give --namespace",
    );
  const settleMs = options.rotationWait * 1_000;
  const parts = { clock: systemClock, log, settleMs };
  const changes = { look: () => undefined } as { look: () => void };
  const configurations = new WebhookConfigurations({
    connection,
    name: options.webhookConfiguration,
    log,
    changed: () => changes.look(),
  });
  const trust = (pem: string) => configurations.trust(pem);
  const names = [...namesOf(options, namespace), ...options.tlsHost];
  const source = await AuthorityCertificates.start({ ...parts, names, trust, random: Math.random() });
  const caBundle = new CaBundle({ log, now: () => systemClock.now(), repaired: metrics.caBundleRepaired });
  const authority = new CertificateAuthority({
    ...parts,
    connection,
    configurations,
    caBundle,
    secret: { namespace, name: options.tlsSecret },
    leading: () => election.leading,
    issuedBy: (issuer) => void source.offer(issuer),
  });
  changes.look = () => {
    void authority.look();
    void source.look();
  };
  election.onChange(() => void authority.look());
  return {
    source,
    checks: [certificateCheck(authority, configurations, caBundle)],
    sample: () => sampleOf(authority, trust),
    announce: () => undefined,
    async close() {
      await authority.close();
      await configurations.close();
    },
  };
}

/** As the API server and people call a Service. */
function namesOf({ service, clusterDomain }: CertificateOptions, namespace: string): readonly string[] {
  if (service === undefined) return [];
  const full = `${service}.${namespace}.svc`;
  return [full, service, `${service}.${namespace}`, `${full}.${clusterDomain}`];
}

/** Never makes the server unready: it goes on with the last valid certificate, and the line says what is wrong. */
const certificateCheck = (
  authority: CertificateAuthority,
  configurations: WebhookConfigurations,
  caBundle: CaBundle,
): ReadinessCheck => ({
  name: "certificate-authority",
  problem: () => undefined,
  note() {
    const { state } = authority;
    const phase = state === undefined ? [] : [phaseOf(state)];
    const problems = [authority.problem, configurations.problem, caBundle.problem].filter((one) => one !== undefined);
    return [...phase, ...new Set(problems)].join("; ");
  },
});

function sampleOf(
  { state }: CertificateAuthority,
  trust: (pem: string) => "all" | "some" | "unknown",
): Pick<ControllerSample, "authority" | "isTrusted"> {
  if (state === undefined) return {};
  const notAfterMs = Date.parse(new X509Certificate(state.issuer.cert).validTo);
  const trusted = trust(state.issuer.cert);
  return {
    authority: { notAfterMs, phase: phaseOf(state) },
    isTrusted: trusted === "unknown" ? undefined : trusted === "all",
  };
}
