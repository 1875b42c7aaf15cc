import assert from "node:assert/strict";
import { test } from "node:test";
import { scalarAdvice } from "../../src/kube/yaml-scalars.ts";

for (const [expected, found, advice] of [
  ["a string", "true", 'Put it in quotes: "true" (YAML reads y, yes and on without quotes as true, too)'],
  ["a string", "false", 'Put it in quotes: "false" (YAML reads n, no and off without quotes as false, too)'],
  ["an integer or a string", "true", 'Put it in quotes: "true" (YAML reads y, yes and on without quotes as true, too)'],
  ["a string", "8", undefined],
  ["a list", "true", undefined],
  ["a boolean", '"yes"', "Write true without quotes"],
  ["true or false", '"Off"', "Write false without quotes"],
  ["a boolean", '"0"', "Write false without quotes"],
  ["a boolean", '"yes please"', undefined],
  ["a boolean", "1", undefined],
] as const)
  test(`${expected} was expected and ${found} found`, () => assert.equal(scalarAdvice(expected, found), advice));
