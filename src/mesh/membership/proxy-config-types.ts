import { isObject } from "../../kube/read.ts";
import { numberOf, unknownIn, type WrongType, wrongTypeIn as wrongTypeOf } from "../../schemas/message-types.ts";
import { publishedMeshConfig } from "../../schemas/published.ts";

/**
 * The first field of a proxy config whose value istiod cannot read; undefined: it reads all of them. `config`: with the JSON names of its
 * fields.
 */
export const wrongTypeIn = (config: unknown): WrongType | undefined =>
  wrongTypeOf(config, schemaOfProxyConfig()) ?? wrongPortIn(config);

const schemaOfProxyConfig = () => publishedMeshConfig().properties?.["defaultConfig"];

/** The fields of a proxy config that istiod does not know, and ignores (Istio pkg/util/protomarshal/protomarshal.go ApplyJSON). */
export const unknownFieldsOf = (config: unknown): Iterable<string> => unknownIn(config, schemaOfProxyConfig());

/** Istio pkg/config/validation/agent/validation.go ValidateMeshConfigProxyConfig. */
function wrongPortIn(config: unknown): WrongType | undefined {
  if (!isObject(config)) return undefined;
  const field = ["proxyAdminPort", "statusPort"].find((name) => {
    const port = numberOf(config[name]);
    return port !== undefined && (port < 1 || port > 65_535);
  });
  return field === undefined ? undefined : { field, expected: "a port from 1 to 65535" };
}
