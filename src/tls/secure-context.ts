import { constants } from "node:crypto";
import type { Certificate } from "./certificate-source.ts";

/**
 * Only cipher suites with forward secrecy (ECDHE) and authenticated encryption (AEAD). The API server's Go offers all of
 * them (crypto/tls cipher_suites.go). Those of TLS 1.3 have to be in the list, or Node disables TLS 1.3.
 */
const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/**
 * All options of the TLS context. A new certificate needs all of them again, because Node replaces the whole context.
 * `clientAuthority`: PEM of the authorities of client certificates. A resumed session would skip the certificate of the
 * client, so there are no session tickets then.
 */
export function secureContext({ cert, key }: Certificate, clientAuthority?: string) {
  const clients =
    clientAuthority === undefined ? {} : { ca: clientAuthority, secureOptions: constants.SSL_OP_NO_TICKET };
  return { cert, key, ciphers, minVersion: "TLSv1.2", honorCipherOrder: true, ...clients } as const;
}
