import { asset, assetFolders, assetNames } from "../config/assets.ts";

/**
 * The source of a JavaScript module with the exports of `config/assets.ts` that contains the files, because the built
 * file has no `policies/` next to it. Throws if a folder is empty, because the build would not work.
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
  if (names.length === 0) throw new Error(`policies/${folder} contains no file to embed`);
  return names.map((name) => [name, asset(name)]);
}
