import assert from "node:assert/strict";
import { test } from "node:test";
import { scalarAdvice } from "../../src/kube/yaml-scalars.ts";

for (const [expected, found, advice] of [
  [
    "a string",
    "true",
    'Put in quotes what is written, "true", "yes", "on" or "y": YAML reads each of them without quotes as true',
  ],
  [
    "a string",
    "false",
    'Put in quotes what is written, "false", "no", "off" or "n": YAML reads each of them without quotes as false',
  ],
  [
    "an integer or a string",
    "true",
    'Put in quotes what is written, "true", "yes", "on" or "y": YAML reads each of them without quotes as true',
  ],
  ["a string", "8", 'Put it in quotes as it is written, such as "8"'],
  ["a string", "an object", undefined],
  ['a duration, which is a string such as "10s"', "5", "Write the unit, such as 5s for seconds"],
  ["a 32-bit integer", '"80"', "Write 80 without quotes"],
  ["a 32-bit integer", '"http"', undefined],
  ["a list", "true", undefined],
  ["a boolean", '"yes"', "Write true without quotes"],
  ["true or false", '"Off"', "Write false without quotes"],
  ["a boolean", '"0"', "Write false without quotes"],
  ["a boolean", '"yes please"', undefined],
  ["a boolean", "1", undefined],
] as const)
  test(`${expected} was expected and ${found} found`, () => assert.equal(scalarAdvice(expected, found), advice));
