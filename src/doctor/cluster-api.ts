import { isObject, member } from "../kube/read.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { ClusterError, requestError } from "../sources/cluster/cluster-error.ts";
import { responseJson } from "../sources/cluster/list.ts";

export type Fields = Readonly<Record<string, unknown>>;

const longestRequestMs = 10_000;

/** The requests of doctor. Every method throws a ClusterError. Nothing is stored. */
export class ClusterApi {
  readonly #connection: ClusterConnection;

  constructor(connection: ClusterConnection) {
    this.#connection = connection;
  }

  get connection(): ClusterConnection {
    return this.#connection;
  }

  get server(): string {
    return this.#connection.server;
  }

  /** One object, or a list as it is; undefined if there is none. */
  async get(path: string): Promise<Fields | undefined> {
    try {
      return await this.#send({ path });
    } catch (error) {
      if (error instanceof ClusterError && error.fault === "absent") return undefined;
      throw error;
    }
  }

  /** The items of a list; undefined if the API server has no such resource. */
  async list(path: string): Promise<readonly Fields[] | undefined> {
    const list = await this.get(path);
    return list && objectsIn(list["items"]);
  }

  post(path: string, body: object): Promise<Fields> {
    return this.#send({ method: "POST", path, body });
  }

  /** The text of a page that the API server passes on, for example from a pod. */
  async text(path: string): Promise<string> {
    try {
      const response = await this.#connection.request({ path, signal: AbortSignal.timeout(longestRequestMs) });
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString("utf8");
    } catch (error) {
      throw requestError(this.server, error);
    }
  }

  /** The time of the API server, in milliseconds since 1970; undefined if its response has none. */
  async time(): Promise<number | undefined> {
    try {
      const response = await this.#connection.request({
        path: "/version",
        signal: AbortSignal.timeout(longestRequestMs),
      });
      response.resume();
      const time = Date.parse(response.headers.date ?? "");
      return Number.isNaN(time) ? undefined : time;
    } catch (error) {
      throw requestError(this.server, error);
    }
  }

  async #send(request: { readonly method?: "POST"; readonly path: string; readonly body?: object }): Promise<Fields> {
    try {
      const asked = { ...request, signal: AbortSignal.timeout(longestRequestMs) };
      const { body } = await responseJson(this.#connection, await this.#connection.request(asked), asked);
      if (isObject(body)) return body;
    } catch (error) {
      throw requestError(this.server, error);
    }
    throw new ClusterError("failed", `${this.server} sent a response that is no object`);
  }
}

export const objectsIn = (value: unknown): readonly Fields[] => (Array.isArray(value) ? value.filter(isObject) : []);
export const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];

/** The value at a path of fields; undefined where one is missing. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let found = value;
  for (const field of path) found = member(found, field);
  return found;
}
export const textAt = (value: unknown, ...path: readonly string[]): string => {
  const found = at(value, ...path);
  return typeof found === "string" ? found : "";
};
export const nameOf = (object: unknown): string => textAt(object, "metadata", "name");
