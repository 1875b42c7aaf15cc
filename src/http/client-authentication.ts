import type { IncomingMessage } from "node:http";
import type { Server } from "node:https";
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { Metrics } from "../telemetry/metrics.ts";
import { printableLine } from "../text/printable.ts";
import type { ClientAuthorities } from "../tls/client-authorities.ts";
import type { RepeatedLines } from "./repeated-lines.ts";

/** Who may call: clients with a certificate of one of these authorities, and with one of these names. */
export interface Clients {
  readonly authorities: ClientAuthorities;
  /** The common name, or a DNS name, URI or e-mail address of the certificate. Empty: any name. */
  readonly names: readonly string[];
}

interface Told {
  readonly metrics: Pick<Metrics, "clientRefused">;
  readonly rejected: RepeatedLines;
}

/**
 * Refuses clients without a valid certificate as soon as the TLS handshake is complete, before anything that they send is
 * read. The handshake itself accepts every certificate, because Node would refuse one without a reason for the log.
 */
export class ClientAuthentication {
  readonly #clients: Clients;
  readonly #told: Told;
  /** The connections that the present authorities have accepted. */
  #accepted = new WeakSet<object>();

  constructor(clients: Clients, told: Told) {
    this.#clients = clients;
    this.#told = told;
  }

  guard(server: Server): void {
    // Before the listener of HTTP, so that it gets only sockets that are not destroyed.
    server.prependListener("secureConnection", (socket: TLSSocket) => {
      if (socket.authorized) this.#accepted.add(socket);
      else this.#refuse(socket);
    });
  }

  /** Other authorities count from now on. Connections that the former ones accepted end after their next response. */
  replaced(): void {
    this.#accepted = new WeakSet();
  }

  isOutdated({ socket }: Pick<IncomingMessage, "socket">): boolean {
    return !this.#accepted.has(socket);
  }

  /** Why the client of a request may not call; undefined: it may. */
  refusal({ socket }: Pick<IncomingMessage, "socket">): string | undefined {
    const { names } = this.#clients;
    if (names.length === 0) return undefined;
    const found = namesOf((socket as TLSSocket).getPeerCertificate());
    if (found.some((name) => names.includes(name))) return undefined;
    this.#told.metrics.clientRefused("name");
    this.#told.rejected.warn(
      "name",
      { names: printableLine(found.join(", "), 256) },
      "client refused: no --client-name",
    );
    return "the client certificate has none of the names that may call Meshward";
  }

  #refuse(socket: TLSSocket): void {
    const hasCertificate = Object.keys(socket.getPeerCertificate()).length > 0;
    const reason = hasCertificate ? printableLine(String(socket.authorizationError), 64) : "no certificate";
    this.#told.metrics.clientRefused("certificate");
    this.#told.rejected.warn("certificate", { reason }, "client refused: no valid certificate of --client-ca");
    socket.destroy();
  }
}

/** The common name and the alternative names, without their types. */
export function namesOf({ subject, subjectaltname = "" }: Partial<PeerCertificate>): readonly string[] {
  const common: string | readonly string[] = subject?.CN ?? [];
  const alternative = [...subjectaltname.matchAll(/(?:^|, )(?:DNS|URI|email):("(?:[^"\\]|\\.)*"|[^,]*)/g)];
  return [...(typeof common === "string" ? [common] : common), ...alternative.map(([, name = ""]) => unquoted(name))];
}

/** Node quotes names with special characters as JSON. */
function unquoted(name: string): string {
  if (!name.startsWith('"')) return name;
  try {
    return String(JSON.parse(name));
  } catch {
    return "";
  }
}
