import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { imageReferenceProblem } from "../../src/deploy/image-reference.ts";

// The cases of github.com/distribution/reference (reference_test.go, normalize_test.go) that are about names, and mistakes
// that people make.

const sha256 = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("image references", () => {
  for (const valid of [
    "a",
    "meshward:1.2.3",
    "ghcr.io/meshward/meshward:0.1.0",
    `ghcr.io/meshward/meshward@${sha256}`,
    `registry.example.com:5000/team/gate:v1@${sha256}`,
    "localhost/gate",
    "localhost:5000/gate:latest",
    "[2001:db8::1]:5000/gate",
    "[2001:db8::1]/gate",
    "192.168.1.1:5000/gate",
    "UPPERCASE.example.com/gate",
    "Uppercase/gate",
    "a/b/c/d-e--f/g__h/i_j/k.l",
    "gate:_1",
    `gate:${"a".repeat(128)}`,
    `gate@sha512:${"a".repeat(128)}`,
    `gate@other+algorithm:${"a".repeat(32)}`,
    `registry.example.com/${"a".repeat(230)}`,
  ])
    test(`${valid.slice(0, 60)} is one`, () => assert.equal(imageReferenceProblem(valid), undefined));

  for (const [wrong, says] of [
    ["", /^the name is missing$/],
    [":1", /^the name is missing$/],
    ["a:b:c", /^"b:c" is no tag/],
    ["gate:", /^the tag after : is missing$/],
    ["gate:-1", /^"-1" is no tag/],
    [`gate:${"a".repeat(129)}`, /is no tag/],
    ["two words", /^"two words" is no part of a name/],
    ["https://registry.example.com/gate", /^"https:" is no host with or without a port$/],
    ["registry.example.com/Team/gate", /in lower case: "team" instead of "Team"$/],
    ["Gate", /in lower case: "gate" instead of "Gate"$/],
    ["registry.example.com//gate", /^a part of the name between two \/ is empty$/],
    ["registry.example.com/gate/", /is empty$/],
    ["/gate", /is empty$/],
    ["-host.example.com/gate", /^"-host\.example\.com" is no host/],
    ["registry.example.com:port/gate", /^"registry\.example\.com:port" is no host/],
    ["[fe80::1%eth0]/gate", /is no host/],
    ["a___b", /is no part of a name/],
    ["a..b", /is no part of a name/],
    ["gate@sha256:0123", /^a digest of sha256 has 64 hexadecimal digits in lower case, and "0123" has 4 characters$/],
    [`gate@${sha256.toUpperCase().replace("SHA", "sha")}`, /in lower case/],
    ["gate@", /is no digest/],
    ["gate@latest", /^"latest" is no digest/],
    [`gate@${sha256}@${sha256}`, /^it has a second @$/],
    ["0123456789abcdef".repeat(4), /is the id|are the id of an image/],
    [`registry.example.com/${"a".repeat(250)}`, /^the name has 271 characters, and at most 255 are valid$/],
    ["gate\n", /is no part of a name/],
  ] as const)
    test(`${JSON.stringify(wrong).slice(0, 60)} is none`, () => assert.match(imageReferenceProblem(wrong) ?? "", says));
});
