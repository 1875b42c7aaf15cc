import { testThroughApiServer } from "../controllers/self-test.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import { type CheckResult, fail, ok, unknown, warn } from "./check-result.ts";
import type { ClusterApi } from "./cluster-api.ts";

/** Its weights are wrong whatever the cluster contains. Profiles and policies that deny nothing admit it. */
const route = [
  { destination: { host: "a" }, weight: 1 },
  { destination: { host: "b" }, weight: 1 },
];
const canary = {
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "meshward-self-test", namespace: "default" },
  spec: { hosts: ["meshward-self-test.invalid"], http: [{ route }] },
};
const path = "/apis/networking.istio.io/v1/namespaces/default/virtualservices?dryRun=All&fieldManager=meshward-doctor";

/**
 * A dry run of an object that Meshward has to deny, through the API server. It shows that the API server calls Meshward,
 * accepts its certificate and uses its answer. Nothing is stored. Where the object is admitted, and for those who may not
 * create VirtualServices, such as Meshward's service account, the Lease decides with which the replicas test themselves:
 * that one is denied whatever the policies are. Throws a ClusterError.
 */
export async function checkSelfTest(api: ClusterApi, namespace: string, now: number): Promise<readonly CheckResult[]> {
  const first = await checkVirtualService(api);
  if (first !== "admitted" && first.status !== "unknown") return [first];
  const { result, detail } = await testThroughApiServer(api.connection, namespace, now);
  if (first === "admitted") return [result === "passed" ? deniesNothing : isAdmitted];
  if (result === "passed") return [ok("self-test", `With a Lease: ${detail}`)];
  if (result === "admitted")
    return [
      fail("self-test", `With a Lease: ${detail}`, "See the other lines: the webhook is missing or cannot be called"),
    ];
  return [first];
}

const deniesNothing = warn(
  "self-test",
  "The API server asks Meshward and uses its answer, but wrong weights of a VirtualService are admitted in namespace default",
  "Nothing with the profile observe, which denies nothing. Otherwise see which policy sets the mode of virtual-service-weights-not-100",
);
const isAdmitted = fail(
  "self-test",
  "The API server admitted an object that Meshward has to deny: changes are not reviewed",
  "See the other lines: the webhook is missing or cannot be called, or a policy turns off virtual-service-weights-not-100",
);

async function checkVirtualService(api: ClusterApi): Promise<CheckResult | "admitted"> {
  try {
    await api.post(path, canary);
    return "admitted";
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    return refusal(error);
  }
}

function refusal({ message, fault }: ClusterError): CheckResult {
  if (/admission webhook "[\w.-]+\.meshward\.io" denied the request/.test(message))
    return ok("self-test", "The API server asks Meshward, and what Meshward denies is denied");
  if (/failed calling webhook "[\w.-]+\.meshward\.io"/.test(message))
    return fail(
      "self-test",
      `The API server cannot call Meshward: ${message}`,
      "See the other lines. The command at the end unlocks the cluster",
    );
  if (/admission webhook "/.test(message))
    return warn(
      "self-test",
      `Another webhook denied the self-test before Meshward was seen: ${message}`,
      "Exempt the name meshward-self-test there",
    );
  if (fault === "absent")
    return unknown(
      "self-test",
      "The API server does not serve VirtualServices, which the self-test uses",
      "Install Istio's definitions",
    );
  return unknown(
    "self-test",
    `The self-test was refused: ${message}`,
    "Run doctor as a user who may create VirtualServices in namespace default",
  );
}
