/** The versions that the rule pages cite and link to. A test compares them with `docs/versions.md`. */
export const citedVersions = { istio: "1.31.1", kubernetes: "1.36.3" } as const;

/** A file of a project, as the text of a rule names it. */
export interface Citation {
  readonly name: string;
  readonly url: string;
}

const file = /(\bkubernetes |\bztunnel )?\b(?:[\w-]+\/)+[\w-]+\.(?:go|rs|yaml)\b/g;

/** The source files that a text names, each once, in order. Paths are below the root of istio/istio, unless another project is named. */
export function citationsIn(text: string): readonly Citation[] {
  const found = new Map<string, Citation>();
  for (const [whole, project = ""] of text.matchAll(file)) {
    const path = whole.slice(project.length);
    found.set(whole, { name: whole, url: urlOf(project.trim(), path) });
  }
  return [...found.values()];
}

/** The folders of istio/istio in which cited files are. What is in no folder of these is not a whole path. */
const istioFolders = /^(?:cni|istioctl|manifests|pilot|pkg|security|tools)\//;

/** The cited files of Istio that are no whole paths, so that a link to them would be broken. */
export const partialCitations = (text: string): readonly string[] => [
  ...(text.match(/(?<![\w/.-])[\w-]+\.(?:go|rs)\b/g) ?? []),
  ...citationsIn(text)
    .filter(({ name }) => !name.includes(" ") && !istioFolders.test(name))
    .map(({ name }) => name),
];

function urlOf(project: string, path: string): string {
  const { istio, kubernetes } = citedVersions;
  if (project === "kubernetes") return `https://github.com/kubernetes/kubernetes/blob/v${kubernetes}/${path}`;
  return `https://github.com/istio/${project || "istio"}/blob/${istio}/${path}`;
}
