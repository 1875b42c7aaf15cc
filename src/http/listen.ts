import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import type { FastifyInstance } from "fastify";

/** A port could not be opened. The message is one line with what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

export interface Address {
  readonly host: string;
  /** 0: any free port */
  readonly port: number;
  /** the flag that sets the port, for messages */
  readonly flag: string;
}

/** The address that means every address of this machine, of both families where it has IPv6. */
export function everyAddress(): "::" | "0.0.0.0" {
  const addresses = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  return addresses.some(({ family }) => family === "IPv6") ? "::" : "0.0.0.0";
}

/** Opens the port and resolves with its number. Rejects with a ListenError. */
export async function listen(app: FastifyInstance, address: Address): Promise<{ host: string; port: number }> {
  try {
    await app.listen({ host: address.host, port: address.port });
  } catch (error) {
    throw listenError(error, address);
  }
  const { address: host, port } = app.server.address() as AddressInfo;
  return { host, port };
}

function listenError(error: unknown, { host, port, flag }: Address): ListenError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const where = `${host}:${port}`;
  switch (code) {
    case "EADDRINUSE":
      return new ListenError(
        `Port ${port} on ${host} is in use by another process; stop it, or choose another port with ${flag}`,
      );
    case "EACCES":
      return new ListenError(
        `This user is not allowed to open port ${port} on ${host}; choose a port above 1023 with ${flag}`,
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new ListenError(
        `This machine has no address ${host}; choose one of its addresses, 0.0.0.0 or :: with --host`,
      );
    default:
      return new ListenError(`Cannot listen on ${where}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
