import { Option } from "commander";
import type { Clients } from "../../http/client-authentication.ts";
import { UsageError } from "../../text/usage-error.ts";
import { clientAuthorities } from "../../tls/client-authorities.ts";
import { systemClock } from "../../tls/clock.ts";

export interface ClientOptions {
  readonly clientCa?: string;
  readonly clientName: readonly string[];
}

export const clientCaOption = () =>
  new Option(
    "--client-ca <file>",
    "PEM authorities: only clients with a certificate of one of them may call the webhook; read again when it changes",
  );
export const clientNameOption = () =>
  new Option(
    "--client-name <name...>",
    "with --client-ca: the certificate needs one of these names (common name, DNS name, URI or e-mail address)",
  ).default([], "any name");

/** Who may call; undefined: everyone who reaches the port. Throws a UsageError or CertificateError. */
export function clientsOf({ clientCa, clientName }: ClientOptions): Clients | undefined {
  if (clientCa !== undefined)
    return { authorities: clientAuthorities({ path: clientCa, clock: systemClock }), names: clientName };
  if (clientName.length > 0)
    throw new UsageError("--client-name needs --client-ca, the authorities of the client certificates");
  return undefined;
}
