import { program } from "commander";
import packageJson from "../package.json" with { type: "json" };

program.name("meshward").description(packageJson.description).version(packageJson.version);
await program.parseAsync();
