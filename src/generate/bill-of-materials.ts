import { readFileSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { type PublishedModule, publishedModules } from "../schemas/published.ts";
import { packageFolders } from "./third-party-notices.ts";

/** The name of the file that travels beside the built one. */
export const billOfMaterialsFile = "meshward.cdx.json";

interface Component {
  readonly type: "application" | "library";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly licenses: readonly object[];
  readonly purl: string;
}

/**
 * The packages that the files of a bundle come from and the Go modules of the built-in schemas, as a software bill of materials: CycloneDX 1.6 in JSON. It contains no
 * time and no random number, so that the same source gives the same file. `files` are paths below `root`.
 */
export function billOfMaterials(files: readonly string[], root: string): string {
  const packages = packageFolders(files).map((folder) => componentOf(join(root, folder, "package.json")));
  const components = [...packages, ...publishedModules.map(componentOfModule)];
  const unique = [...new Map(components.map((component) => [component["bom-ref"], component])).values()];
  const { name, version, license } = packageJson;
  const bom = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { component: component({ name, version, license }, "application") },
    components: unique.sort((one, other) => (one["bom-ref"] < other["bom-ref"] ? -1 : 1)),
    dependencies: [{ ref: purlOf(name, version), dependsOn: unique.map((one) => one["bom-ref"]).sort() }],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

interface Described {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly license?: string;
}

const componentOf = (path: string): Component =>
  component(JSON.parse(readFileSync(path, "utf8")) as Described, "library");

const componentOfModule = ({ path, version, license }: PublishedModule): Component => ({
  type: "library",
  "bom-ref": `pkg:golang/${path}@${version}`,
  name: path,
  version,
  licenses: [{ expression: license }],
  purl: `pkg:golang/${path}@${version}`,
});

const component = ({ name, version, license }: Described, type: Component["type"]): Component => ({
  type,
  "bom-ref": purlOf(name, version),
  name,
  version,
  licenses: license === undefined ? [] : [{ expression: license }],
  purl: purlOf(name, version),
});

/** A package URL, in which the @ of a scope is escaped: pkg:npm/%40kubernetes/client-node@2.0.1 */
const purlOf = (name: string, version: string): string => `pkg:npm/${name.replace(/^@/, "%40")}@${version}`;
