import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";

/** A port could not be opened. The message is one line for the user. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

export interface Address {
  readonly host: string;
  /** 0: any free port */
  readonly port: number;
  /** the flag that chooses the port, named in messages */
  readonly flag: string;
}

/** Opens the port and says which one it is. Rejects with a ListenError that says what to do. */
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
        `Port ${port} on ${host} is taken by another process; stop it, or choose another port with ${flag}`,
      );
    case "EACCES":
      return new ListenError(`This user may not open port ${port} on ${host}; choose one above 1023 with ${flag}`);
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new ListenError(`This machine has no address ${host}; choose one that it has, 0.0.0.0 or ::`);
    default:
      return new ListenError(`Cannot listen on ${where}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
