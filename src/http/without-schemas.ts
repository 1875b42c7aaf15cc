import type { FastifyServerOptions } from "fastify";

const notAskedFor = (): never => {
  throw new Error("a route has a schema, and the built file leaves out what compiles it (generate/built-file.ts)");
};

/** For fastify, which would load its compilers of validators and of serializers: no route has a schema. */
export const withoutSchemas = {
  schemaController: { compilersFactory: { buildValidator: notAskedFor, buildSerializer: notAskedFor } },
} satisfies FastifyServerOptions;
