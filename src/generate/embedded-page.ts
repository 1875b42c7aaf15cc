import { buildSync } from "esbuild";
import { pageBuild, pageScript, pageStyle } from "../config/page-assets.ts";
import { root } from "./files.ts";
import { packed, unpacker } from "./packed.ts";

/** The source of a JavaScript module with the exports of `config/page-assets.ts` that contains the page, compressed. */
export function embeddedPage(): string {
  return `${unpacker}
export const pageScript = () => unpacked(${JSON.stringify(packed(pageScript()))});
export const pageStyle = () => unpacked(${JSON.stringify(packed(pageStyle()))});
`;
}

/** The files of which something is in the script of the page, for the notices. */
export function filesOfPage(): readonly string[] {
  const options = { ...pageBuild, absWorkingDir: root, entryPoints: ["src/page/main.tsx"] };
  const { metafile } = buildSync({ ...options, write: false, outdir: "page", metafile: true });
  return Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
}
