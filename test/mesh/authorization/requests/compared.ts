import type { ObjectOf } from "../../../../src/kube/object.ts";
import type { Applied } from "../../../../src/mesh/authorization/requests/applied.ts";
import { Asked, Questions } from "../../../../src/mesh/authorization/requests/gains.ts";
import type { Gain } from "../../../../src/mesh/authorization/requests/policy-change.ts";
import type { Place } from "../../../../src/mesh/authorization/requests/matches.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../../src/view/settings.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;
const harmless = { methods: ["OPTIONS"], paths: ["/healthz"] };

export const applied = (
  all: readonly AuthorizationPolicy[],
  place: Place,
  mesh: AllMeshSettings = defaultMeshSettings,
): Applied => ({ place, settings: mesh, lists: [{ name: "all", policies: all }] });

export interface Gains {
  readonly opened: Gain | undefined;
  readonly denyLost: Gain | undefined;
  readonly widened: Gain | undefined;
  readonly isUndecided: boolean;
}

export function gainsOf(before: Applied, after: Applied, visited: (values: number) => void = () => {}): Gains {
  const questions = new Questions(visited);
  const asked = new Asked(before, after);
  const [opened, denyLost, widened] = [
    questions.opened(asked, harmless),
    questions.denyLost(asked),
    questions.widened(asked),
  ];
  const isUndecided = [opened, denyLost, widened].some((answer) => answer.isUndecided);
  return { opened: opened.gain, denyLost: denyLost.gain, widened: widened.gain, isUndecided };
}

export const compare = (
  before: readonly AuthorizationPolicy[],
  after: readonly AuthorizationPolicy[],
  place: Place = "http",
  mesh: AllMeshSettings = defaultMeshSettings,
): Gains => gainsOf(applied(before, place, mesh), applied(after, place, mesh));
