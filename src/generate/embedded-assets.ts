import { asset, assetFolders, assetNames } from "../config/assets.ts";

/**
 * The source of a JavaScript module with the exports of `config/assets.ts`, which holds the files' texts itself:
 * the built file has no `policies/` beside it. Throws if a folder holds no file, since a build without it is broken.
 */
export function embeddedAssets(): string {
  const texts = Object.fromEntries(assetFolders.flatMap(textsBelow));
  return `
export const assetFolders = ${JSON.stringify(assetFolders)};
const texts = new Map(Object.entries(${JSON.stringify(texts)}));
export function assetNames(folder) {
  return [...texts.keys()].filter((path) => path.startsWith(folder + "/"));
}
export function asset(path) {
  const text = texts.get(path);
  if (text === undefined) throw new Error("there is no policies/" + path + " in this installation of Meshward");
  return text;
}
`;
}

function textsBelow(folder: (typeof assetFolders)[number]): [string, string][] {
  const names = assetNames(folder);
  if (names.length === 0) throw new Error(`policies/${folder} holds no file to build into Meshward`);
  return names.map((name) => [name, asset(name)]);
}
