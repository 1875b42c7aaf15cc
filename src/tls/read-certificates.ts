import { X509Certificate } from "node:crypto";

/** A replica looks at the same few certificates again and again, and to parse one costs more than all else that it does then. */
const read = new Map<string, X509Certificate>();
const mostRead = 100;

/**
 * The first certificate of a text in PEM.
 * @throws if it cannot be decoded
 */
export function certificateIn(pem: string): X509Certificate {
  let certificate = read.get(pem);
  if (certificate === undefined) {
    certificate = new X509Certificate(pem);
    if (read.size >= mostRead) read.clear();
    read.set(pem, certificate);
  }
  return certificate;
}
