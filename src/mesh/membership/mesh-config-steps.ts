import { mainRevision, revisionOfConfig } from "../../view/settings.ts";
import { forWording, type MeshView, setting } from "../../view/view.ts";
import { readers } from "./control-plane.ts";
import { controlPlanesIn, controlPlanesOfEnrollment } from "./control-planes-in.ts";
import { type MeshConfig, meshConfigsOfNamespace } from "./mesh-config.ts";
import type { Namespace } from "./namespaces.ts";

// A workload that comes or goes changes no mesh config of the others.
const controlPlanesNow = forWording(controlPlanesIn);
export const readsConfigSteps = [meshConfigsOfNamespace, readers, controlPlanesNow, setting("tags")] as const;
interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsConfigSteps)[number]>;
}

/** The mesh configs of a control plane before and after a change; undefined: there is no ConfigMap. */
export interface ConfigStep {
  readonly revision: string;
  readonly was: MeshConfig | undefined;
  readonly is: MeshConfig | undefined;
}

type MovedStep = ConfigStep & { readonly was: MeshConfig; readonly is: MeshConfig };

/**
 * What a change does to the mesh configs that the proxies of a namespace follow. Each control plane has its own ConfigMap (Istio
 * manifests/charts/istio-control/istio-discovery/templates/configmap.yaml), and a namespace that moves to another control plane follows
 * another one. If the control planes of a namespace are not known, they are taken to follow the mesh config that stands for the mesh.
 */
export function configSteps(before: Side, after: Side): readonly ConfigStep[] {
  const [was, is] = [configsOf(before), configsOf(after)];
  const kept = revisionsOf(before, after).map((revision) => ({
    revision,
    was: was.get(revision),
    is: is.get(revision),
  }));
  return [...kept, ...movedSteps(before, after)].filter((step) => step.was !== step.is);
}

/** Those of a namespace that moves to another control plane: from the mesh config that it followed to the one that it follows now. */
export function movedSteps(before: Side, after: Side): readonly MovedStep[] {
  const [old, now] = [enrolledAt(before), enrolledAt(after)];
  const come = [...now.difference(old)];
  if (come.length === 0) return [];
  const [was, is] = [configsOf(before), configsOf(after)];
  return come.flatMap((revision) =>
    [...old].flatMap((from) => {
      const [left, reached] = [was.get(from), is.get(revision)];
      return left === undefined || reached === undefined ? [] : [{ revision, was: left, is: reached }];
    }),
  );
}

/** The same for every control plane, whoever follows it. */
export function everyConfigStep(before: Side, after: Side): readonly ConfigStep[] {
  const [was, is] = [configsOf(before), configsOf(after)];
  return [...new Set([...was.keys(), ...is.keys()])]
    .map((revision) => ({ revision, was: was.get(revision), is: is.get(revision) }))
    .filter((step) => step.was !== step.is);
}

type Configs = ReadonlyMap<string, MeshConfig>;

const configsOf = ({ object, mesh }: Side): Configs =>
  new Map(
    mesh.related(meshConfigsOfNamespace, object).flatMap((config) => {
      const revision = revisionOfConfig(config);
      return revision === undefined ? [] : [[revision, config] as const];
    }),
  );

/** A revision that only its ConfigMap shows is not known any more without it, so that those before the change count then. */
function revisionsOf(before: Side, after: Side): readonly string[] {
  const [old, known] = [before, after].map(({ object, mesh }) =>
    [...mesh.get(controlPlanesNow, object)].filter((revision) => revision !== undefined),
  ) as [string[], string[]];
  if (known.length > 0) return known;
  if (old.length > 0) return old;
  const [was, is] = [before, after].map((side) => mainRevision(configsOf(side), side.mesh.settings.tags["default"]));
  return [is ?? was].filter((revision) => revision !== undefined);
}

const enrolledAt = ({ object, mesh }: Side): ReadonlySet<string> =>
  new Set(
    controlPlanesOfEnrollment(object, mesh.get(readers, object), mesh.settings).filter(
      (revision) => revision !== undefined,
    ),
  );
