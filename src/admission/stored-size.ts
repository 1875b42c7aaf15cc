/**
 * The largest request that etcd accepts by default, in bytes (etcd server/embed/config.go, DefaultMaxRequestBytes). It
 * contains the stored object and a little more, so an object above it cannot be stored. Storage other than etcd, and etcd
 * with a higher `--max-request-bytes`, accept at most 2 MiB, because Kubernetes' client sends no more (etcd
 * client/v3/options.go, defaultMaxCallSendMsgSize).
 */
export const defaultStoredBytes = 1_572_864;

/** Storage can be in another version than the request, whose name may be shorter. */
const slackBytes = 64;

/**
 * The number of bytes that an object needs in storage at least, if that is more than `limit`. Custom resources are
 * stored as JSON without white space, and Kubernetes' own kinds as protobuf, of which only the strings are as long as in
 * JSON (k8s.io/apiextensions-apiserver pkg/apiserver/customresource_handler.go, k8s.io/apimachinery
 * pkg/runtime/serializer/protobuf). `reviewBytes` is the size of the whole review, which bounds that of the object.
 */
export function excessiveSize(
  object: object,
  group: string,
  { limit, reviewBytes }: { readonly limit: number; readonly reviewBytes: number },
): number | undefined {
  if (reviewBytes <= limit) return undefined;
  const bytes = isCustomResource(group) ? Buffer.byteLength(JSON.stringify(object)) : stringBytes(object);
  return bytes > limit + slackBytes ? bytes : undefined;
}

const isCustomResource = (group: string): boolean =>
  group.endsWith(".istio.io") || group === "gateway.networking.k8s.io";

/** Without recursion, and without names of fields, which protobuf replaces by numbers. */
function stringBytes(root: object): number {
  const rest: object[] = [root];
  let bytes = 0;
  for (let next = rest.pop(); next !== undefined; next = rest.pop())
    for (const value of Object.values(next) as unknown[])
      if (typeof value === "string") bytes += Buffer.byteLength(value);
      else if (typeof value === "object" && value !== null) rest.push(value);
  return bytes;
}
