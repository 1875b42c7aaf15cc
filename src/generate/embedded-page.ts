import { brotliCompressSync, constants } from "node:zlib";
import { buildSync } from "esbuild";
import { pageBuild, pageScript, pageStyle } from "../config/page-assets.ts";
import { root } from "./files.ts";

/** The source of a JavaScript module with the exports of `config/page-assets.ts` that contains the page, compressed. */
export function embeddedPage(): string {
  return `
import { brotliDecompressSync } from "node:zlib";
const unpacked = (text) => brotliDecompressSync(Buffer.from(text, "base64")).toString("utf8");
export const pageScript = () => unpacked(${JSON.stringify(packed(pageScript()))});
export const pageStyle = () => unpacked(${JSON.stringify(packed(pageStyle()))});
`;
}

function packed(text: string): string {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11 };
  return brotliCompressSync(Buffer.from(text), { params }).toString("base64");
}

/** The files of which something is in the script of the page, for the notices. */
export function filesOfPage(): readonly string[] {
  const options = { ...pageBuild, absWorkingDir: root, entryPoints: ["src/page/main.tsx"] };
  const { metafile } = buildSync({ ...options, write: false, outdir: "page", metafile: true });
  return Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
}
