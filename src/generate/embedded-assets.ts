import { asset, assetFolders, assetNames } from "../config/assets.ts";
import { packed, unpacker } from "./packed.ts";

/**
 * The source of a JavaScript module with the exports of `config/assets.ts` that contains the files, because the built
 * file has no `policies/` next to it. Each folder is compressed, and is read when somebody asks for it. Throws if a folder is
 * empty, because the build would not work.
 */
export function embeddedAssets(): string {
  const folders = Object.fromEntries(
    assetFolders.map((folder) => [folder, packed(JSON.stringify(Object.fromEntries(textsBelow(folder))))]),
  );
  return `${unpacker}
export const assetFolders = ${JSON.stringify(assetFolders)};
const folders = ${JSON.stringify(folders)};
const read = new Map();
function textsOf(folder) {
  if (!assetFolders.includes(folder)) return {};
  if (!read.has(folder)) read.set(folder, JSON.parse(unpacked(folders[folder])));
  return read.get(folder);
}
export function assetNames(folder) {
  return Object.keys(textsOf(folder));
}
export function asset(path) {
  const texts = textsOf(path.split("/")[0]);
  if (!Object.hasOwn(texts, path)) throw new Error("there is no policies/" + path + " in this installation of Meshward");
  return texts[path];
}
`;
}

function textsBelow(folder: (typeof assetFolders)[number]): [string, string][] {
  const names = assetNames(folder);
  if (names.length === 0) throw new Error(`policies/${folder} contains no file to embed`);
  return names.map((name) => [name, asset(name)]);
}
