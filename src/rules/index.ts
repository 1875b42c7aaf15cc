import type { Rule } from "../engine/rule.ts";
import { objectMalformed } from "./object/malformed.ts";
import { weightsNot100 } from "./virtual-service/weights-not-100.ts";

/** Every rule, sorted by id. Ids are for ever: a retired one is never given to another rule. */
export const rules: readonly Rule[] = [
  objectMalformed, //
  weightsNot100,
];
