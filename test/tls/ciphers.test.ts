import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { generate } from "selfsigned";
import type { Certificate, CertificateSource } from "../../src/tls/certificate-source.ts";
import { type Shell, startShell, testCertificate } from "../contract/api-server.ts";

/** The suite that a client which offers only `ciphers` gets, or the code of the failure. */
function negotiated(shell: Shell, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    // The client's own security level must not be what refuses.
    const ciphers = options.ciphers === undefined ? {} : { ciphers: `${options.ciphers}:@SECLEVEL=0` };
    const to = { host: "127.0.0.1", port: shell.port, rejectUnauthorized: false, ...options, ...ciphers };
    const socket = connect(to, () => {
      resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
      socket.destroy();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(String(error.code)));
  });
}

const good = {
  ecdsa: ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"],
  rsa: ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"],
} as const;
const modern = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const refused = {
  "CBC with SHA-1": ["ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "AES128-SHA"],
  "CBC with SHA-2": ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA384", "AES256-SHA256"],
  "key exchange without forward secrecy": ["AES128-GCM-SHA256", "AES256-GCM-SHA384"],
  "finite-field Diffie-Hellman": ["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-CHACHA20-POLY1305"],
  "CCM and ARIA": ["ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-ARIA128-GCM-SHA256"],
  "no authentication, no encryption": ["AECDH-AES128-SHA", "ADH-AES128-GCM-SHA256", "ECDHE-ECDSA-NULL-SHA"],
};

async function rsaCertificate(): Promise<Certificate> {
  const notAfter = Date.now() + 86_400_000;
  const made = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "rsa",
    keySize: 2_048,
    algorithm: "sha256",
    notAfterDate: new Date(notAfter),
  });
  return { cert: made.cert, key: made.private, ca: made.cert, notAfter };
}

/** Each certificate is served first and, in a second server, after another one. */
async function sources(): Promise<readonly (readonly ["ecdsa" | "rsa", Certificate])[]> {
  return [
    ["ecdsa", await testCertificate()],
    ["rsa", await rsaCertificate()],
  ];
}

function replaceable(first: Certificate): { source: CertificateSource; replace(next: Certificate): void } {
  let current = first;
  const listeners: ((certificate: Certificate) => void)[] = [];
  return {
    source: {
      current: () => current,
      onChange: (listener) => void listeners.push(listener),
      onProblem: () => undefined,
      close: () => undefined,
    },
    replace(next) {
      current = next;
      for (const listener of listeners) listener(next);
    },
  };
}

describe("TLS: forward secrecy and authenticated encryption only, before and after a new certificate", () => {
  test("what is accepted", async (context) => {
    for (const [kind, certificate] of await sources()) {
      const { source, replace } = replaceable(await testCertificate());
      const shell = await startShell(context, { certificates: source });
      replace(certificate);
      for (const ciphers of good[kind])
        assert.equal(await negotiated(shell, { ciphers, maxVersion: "TLSv1.2" }), `TLSv1.2 ${ciphers}`);
      for (const suite of modern)
        assert.equal(await negotiated(shell, { ciphers: `${suite}:${good[kind][0]}` }), `TLSv1.3 ${suite}`);
      assert.match(await negotiated(shell, {}), /^TLSv1\.3 /);
    }
  });

  for (const [what, suites] of Object.entries(refused))
    test(`what is refused: ${what}`, async (context) => {
      for (const [, certificate] of await sources()) {
        const { source, replace } = replaceable(certificate);
        const shell = await startShell(context, { certificates: source });
        const outcomes = () =>
          Promise.all(suites.map((ciphers) => negotiated(shell, { ciphers, maxVersion: "TLSv1.2" })));
        const none = suites.map(() => "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE");
        assert.deepEqual(await outcomes(), none);
        replace(certificate);
        assert.deepEqual(await outcomes(), none);
      }
    });

  test("what is refused: TLS 1.0, TLS 1.1 and signatures with SHA-1", async (context) => {
    for (const [, certificate] of await sources()) {
      const { source } = replaceable(certificate);
      const shell = await startShell(context, { certificates: source });
      for (const maxVersion of ["TLSv1", "TLSv1.1"] as const)
        assert.match(
          await negotiated(shell, { ciphers: "ALL", minVersion: "TLSv1", maxVersion }),
          /^ERR_SSL_.*(PROTOCOL|VERSION)/,
        );
      const sigalgs = "ECDSA+SHA1:RSA+SHA1";
      assert.match(await negotiated(shell, { ciphers: "ALL", maxVersion: "TLSv1.2", sigalgs }), /^ERR_SSL_/);
    }
  });
});
