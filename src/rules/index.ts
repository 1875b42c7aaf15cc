import type { Rule } from "../engine/rule.ts";
import { mtlsWeakened as namespaceMtlsWeakened } from "./namespace/mtls-weakened.ts";
import { objectMalformed } from "./object/malformed.ts";
import { permissive as peerAuthenticationPermissive } from "./peer-authentication/permissive.ts";
import { withoutEffect as peerAuthenticationWithoutEffect } from "./peer-authentication/without-effect.ts";
import { weightsNot100 } from "./virtual-service/weights-not-100.ts";

/** Every rule, sorted by id. Ids are for ever: a retired one is never given to another rule. */
export const rules: readonly Rule[] = [
  namespaceMtlsWeakened,
  objectMalformed, //
  peerAuthenticationPermissive,
  peerAuthenticationWithoutEffect,
  weightsNot100,
];
