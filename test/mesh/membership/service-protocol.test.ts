import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  declaredProtocol,
  isTlsPort,
  parsedProtocol,
  portByNumber,
} from "../../../src/mesh/membership/service-protocol.ts";
import type { Service } from "../../../src/mesh/membership/services.ts";

type Port = Service["spec"]["ports"][number];
const port = (fields: Partial<Port>): Port => ({
  port: 8080,
  name: undefined,
  targetPort: undefined,
  protocol: undefined,
  appProtocol: undefined,
  ...fields,
});

// Istio pkg/config/kube/conversion.go ConvertProtocol, pkg/config/protocol/instance.go Parse.
describe("the protocol of a port", () => {
  const cases: readonly (readonly [Partial<Port>, ReturnType<typeof declaredProtocol>, isTls?: "TLS"])[] = [
    [{ name: "http-web" }, "HTTP"],
    [{ name: "grpc-webx" }, "HTTP"],
    [{ name: "web" }, "undeclared"],
    [{ name: "web", port: 3306 }, "TCP"],
    [{ name: "http", appProtocol: "" }, "undeclared"],
    [{ name: "https-h3", protocol: "UDP" }, "TCP"],
    [{ name: "https-h3" }, "TCP", "TLS"],
    [{ appProtocol: "HTTPS" }, "TCP", "TLS"],
    [{ appProtocol: "kubernetes.io/wss" }, "TCP", "TLS"],
    [{ appProtocol: "kubernetes.io/WSS" }, "undeclared"],
    [{ appProtocol: "kubernetes.io/h2c" }, "HTTP"],
    [{ appProtocol: "kubernetes.io/h2c-x" }, "undeclared"],
    [{ appProtocol: "kubernetes.io/h2c-x", port: 53 }, "TCP"],
    [{ name: "tls-x", appProtocol: "example.com/x" }, "undeclared"],
  ];
  for (const [fields, declared, tls] of cases)
    it(`is ${declared} with ${JSON.stringify(fields)}`, () => {
      assert.equal(declaredProtocol(port(fields)), declared);
      assert.equal(isTlsPort(port(fields)), tls === "TLS");
    });

  it("has other words in a Sidecar and a ServiceEntry", () => {
    assert.deepEqual(["GRPC-Web", "kubernetes.io/h2c", "http-x", "MySQL"].map(parsedProtocol), [
      "HTTP",
      "undeclared",
      "undeclared",
      "TCP",
    ]);
  });

  it("is that of the port which is not for UDP, if two have one number", () => {
    const ports = [port({ name: "h3", port: 443, protocol: "UDP" }), port({ name: "https", port: 443 })];
    const service = { spec: { ports } } as unknown as Service;
    assert.equal(portByNumber(service, 443)?.name, "https");
    assert.equal(portByNumber(service, 80), undefined);
  });
});
