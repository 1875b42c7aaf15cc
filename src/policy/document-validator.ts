import { Ajv } from "ajv";

/**
 * Compiles JSON schemas of documents that users write; `schemaProblems` words the errors. Each schema is compiled in each process
 * that reads such a document, which costs far more than to validate it: so the schemas themselves, which are constants, are not
 * validated here (tests do), and the code that runs a few times is not optimized.
 */
export const documentValidator = (): Ajv =>
  new Ajv({
    ...{ allErrors: true, verbose: true, ownProperties: true, allowUnionTypes: true },
    ...{ meta: false, validateSchema: false, code: { optimize: false } },
  });
