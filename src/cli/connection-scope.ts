import { keyFor } from "../kube/identity.ts";
import type { Scope } from "../mesh/connections/targets.ts";
import { hostIn } from "../mesh/traffic/host-definition.ts";
import { nearest, suggestion } from "../text/nearest.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Mesh } from "../view/view.ts";
import { requireNamespace } from "./mesh-option.ts";

interface ScopeOptions {
  readonly namespace?: string;
  /** `payments-api.payments`, the full host, or only the name with `namespace`. */
  readonly service?: string;
  readonly mesh: string;
}

/** What the options limit the connections to. Throws a UsageError if none of the meshes has it, with a similar name. */
export function scopeOf({ namespace, service, mesh }: ScopeOptions, meshes: readonly Mesh[]): Scope {
  if (service !== undefined) return serviceScope(service, namespace, meshes);
  if (namespace === undefined) {
    if (meshes.every(isEmpty))
      throw new UsageError(
        `--mesh ${mesh} contains neither Services nor workloads, so nothing in it can be reached; give the manifests of the whole mesh, a capture, or cluster`,
      );
    return { kind: "mesh" };
  }
  requireNamespace("--namespace", namespace, meshes);
  return { kind: "namespace", name: namespace };
}

const isEmpty = (mesh: Mesh): boolean => {
  for (const kind of ["Service", "ServiceEntry", "Workload"] as const) for (const _ of mesh.all(kind)) return false;
  return true;
};

function serviceScope(written: string, namespace: string | undefined, meshes: readonly Mesh[]): Scope {
  const host = written.toLowerCase();
  const isDefined = (mesh: Mesh) => hostIn(mesh, host).entries.length > 0 && hostIn(mesh, host).service === undefined;
  if (host.includes(".") && meshes.some(isDefined)) return { kind: "host", host };
  const { name, namespace: named } = readService(written, namespace);
  if (named === undefined)
    throw new UsageError(`--service ${written} names no namespace; use ${written}.<namespace>, or add --namespace`);
  if (namespace !== undefined && named !== namespace)
    throw new UsageError(
      `--service ${written} is in namespace ${named}, and --namespace says ${namespace}; leave out one`,
    );
  const key = keyFor("Service", { originKind: "Service", namespace: named, name });
  if (meshes.some((mesh) => mesh.find("Service", key) !== undefined))
    return { kind: "service", namespace: named, name };
  throw new UsageError(missingService(name, named, meshes));
}

function readService(
  written: string,
  namespace: string | undefined,
): { readonly name: string; readonly namespace: string | undefined } {
  const [name = "", named, ...domain] = written.split(".");
  if (name === "" || named === "" || (domain.length > 0 && domain[0] !== "svc"))
    throw new UsageError(
      `--service ${JSON.stringify(written)} is not a Service; use <name>.<namespace>, such as payments-api.payments`,
    );
  return { name, namespace: named ?? namespace };
}

function missingService(name: string, namespace: string, meshes: readonly Mesh[]): string {
  const services = meshes.flatMap((mesh) => [...mesh.all("Service")]).map(({ metadata }) => metadata);
  if (services.length === 0)
    return `the mesh contains no Services, so ${name}.${namespace} is not known; give the Services with --mesh`;
  const missing = `there is no Service ${name}.${namespace} in this mesh`;
  const elsewhere = services.find((one) => one.name === name);
  if (elsewhere !== undefined) return `${missing}; did you mean ${name}.${elsewhere.namespace}?`;
  const here = nearest(
    name,
    services.filter((one) => one.namespace === namespace).map((one) => one.name),
  );
  if (here !== undefined) return `${missing}; did you mean ${here}.${namespace}?`;
  return `${missing}${suggestion(
    `${name}.${namespace}`,
    services.map((one) => `${one.name}.${one.namespace}`),
  ).replaceAll('"', "")}`;
}
