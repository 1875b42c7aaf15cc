import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import type { Capture } from "../../../src/mesh/membership/capture.ts";
import { interceptionOf, isIntercepted, portsLost } from "../../../src/mesh/membership/interception.ts";

type Annotations = Record<string, string>;
const podOf = (annotations: Annotations, ports: readonly number[] = []) =>
  readObject("Workload", {
    kind: "Pod",
    metadata: { name: "api", namespace: "payments", annotations },
    spec: { containers: [{ name: "app", ports: ports.map((containerPort) => ({ containerPort })) }] },
  }).pod;

const include = "traffic.sidecar.istio.io/includeInboundPorts";
const status = "status.sidecar.istio.io/port";
const interfaces = "traffic.sidecar.istio.io/excludeInterfaces";
const mode = "sidecar.istio.io/interceptionMode";
const exclude = "traffic.sidecar.istio.io/excludeInboundPorts";

describe("whether port 80 goes through the mesh", () => {
  const cases: [string, Capture, Annotations, boolean][] = [
    ["a sidecar", "sidecar", {}, true],
    ["all ports", "sidecar", { [include]: "*" }, true],
    ["excluded", "sidecar", { [exclude]: "8080, 80" }, false],
    ["another one excluded", "sidecar", { [exclude]: "8080" }, true],
    ["listed", "sidecar", { [include]: "80" }, true],
    ["not listed", "sidecar", { [include]: "8080" }, false],
    ["listed and excluded: the list counts", "sidecar", { [include]: "80", [exclude]: "80" }, true],
    ["an empty list", "sidecar", { [include]: "" }, false],
    ["an octal number", "sidecar", { [exclude]: "0120" }, false],
    ["decimal for Istio only", "sidecar", { [exclude]: "080" }, true],
    ["a value that the injector refuses", "sidecar", { [exclude]: "http,,-80,080a" }, true],
    ["a range, which the injector refuses", "sidecar", { [exclude]: "79:81" }, true],
    ["hexadecimal, which the injector refuses", "sidecar", { [exclude]: "0x50" }, true],
    ["an item that the injector refuses", "sidecar", { [exclude]: "80,99999" }, true],
    ["an asterisk, which the injector refuses", "sidecar", { [exclude]: "*" }, true],
    ["spaces around the asterisk, which the injector refuses", "sidecar", { [include]: " * " }, true],
    ["the status port", "sidecar", { [status]: "80" }, false],
    ["the status port, with a list", "sidecar", { [include]: "80", [status]: "80" }, true],
    ["interception mode in lower case, which the injector refuses", "sidecar", { [mode]: "none" }, true],
    ["no interception", "sidecar", { "sidecar.istio.io/interceptionMode": "NONE" }, false],
    ["without the interface of the pod", "sidecar", { [interfaces]: "net1,eth0" }, false],
    ["without another interface", "sidecar", { [interfaces]: "eth01,net1" }, true],
    ["without an interface that iptables takes for another one", "sidecar", { [interfaces]: "net1, eth0" }, true],
    ["interfaces that the injector refuses", "sidecar", { [interfaces]: "eth0," }, true],
    ["ztunnel, without the interface of the pod", "ambient", { [interfaces]: "eth0" }, true],
    ["another way of interception", "sidecar", { "sidecar.istio.io/interceptionMode": "TPROXY" }, true],
    ["ztunnel", "ambient", { [exclude]: "80" }, true],
    ["ztunnel, bypassed", "ambient", { "ambient.istio.io/bypass-inbound-capture": "t" }, false],
    ["ztunnel, not bypassed", "ambient", { "ambient.istio.io/bypass-inbound-capture": "yes" }, true],
    ["nothing captures it", "none", {}, false],
  ];
  for (const [what, capture, annotations, expected] of cases)
    test(what, () => assert.equal(isIntercepted(interceptionOf(podOf(annotations), capture), 80), expected));
});

describe("ports that leave", () => {
  const cases: [string, Annotations, Annotations, readonly number[], string][] = [
    ["the same", { [exclude]: "80" }, { [exclude]: "80" }, [80], ""],
    ["one of two", {}, { [exclude]: "80" }, [80, 81], "80"],
    ["one under the number that iptables reads", {}, { [exclude]: "0017620" }, [80], "8080"],
    ["one that is called the status port", {}, { [status]: " 80" }, [80, 81], "80"],
    ["no status port", {}, { [status]: "0" }, [80], ""],
    ["one that is not declared", {}, { [exclude]: "9090" }, [80], "9090"],
    ["none is declared", {}, { [exclude]: "80" }, [], "80"],
    ["the sidecar's own", {}, { [exclude]: "15020,15021" }, [], ""],
    ["a list without one", {}, { [include]: "80" }, [80, 81], "81"],
    ["a list of all that is declared", {}, { [include]: "80" }, [80], "rest"],
    ["a list, where none is declared", {}, { [include]: "80" }, [], "rest"],
    ["no list any more", { [include]: "80" }, {}, [80, 81], ""],
    ["a shorter list", { [include]: "80,81" }, { [include]: "80" }, [], "81"],
    ["nothing left", {}, { [include]: "" }, [80, 81], "all"],
  ];
  for (const [what, old, now, declared, expected] of cases)
    test(what, () => {
      const [was, is] = [podOf(old, declared), podOf(now, declared)];
      const lost = portsLost(was, interceptionOf(was, "sidecar"), interceptionOf(is, "sidecar"), is);
      assert.equal(lost.map(({ port }) => port).join(), expected);
    });
});
