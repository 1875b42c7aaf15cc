import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { audited, decided, policiesIn, policyWith, rawsIn } from "./custom.ts";

const namespace = (labels: string, name = "shop") => `
apiVersion: v1
kind: Namespace
metadata: {name: ${name}, labels: {${labels}}}
---`;
const routes = (timeout?: string) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "reviews", namespace: "shop" },
  spec: {
    hosts: ["reviews"],
    http: [{ ...(timeout === undefined ? {} : { timeout }), route: [{ destination: { host: "reviews" } }] }],
  },
});
const deployment = (replicas = 1, image = "web:1.0") => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "shop" },
  spec: {
    replicas,
    template: {
      metadata: {
        labels: { app: "web" },
        annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "9090,9091" },
      },
      spec: { containers: [{ name: "web", image }] },
    },
  },
});
const timeouts =
  "kinds: [VirtualService], mode: deny, expression: 'object.spec.http.all(route, has(route.timeout))', fix: Set a timeout";

describe("a rule about one object", () => {
  const world = { policies: policiesIn(policyWith(timeouts)) };
  test("denies a new object that is wrong, with its id, message and fix", () => {
    const { allowed, message } = decided(world, { object: routes() });
    assert.equal(allowed, false);
    assert.match(message ?? "", /\[own\/rule\] It is wrong\n\s+Fix: Set a timeout\./);
    assert.match(message ?? "", /custom-rules\.md|meshward rules own\/rule/);
    assert.equal(decided(world, { object: routes("1s") }).allowed, true);
  });
  test("denies what a change introduces, and warns of what existed, also in fields that no built-in rule reads", () => {
    assert.equal(decided(world, { oldObject: routes("1s"), object: routes() }).allowed, false);
    const labelled = { ...routes(), metadata: { ...routes().metadata, labels: { a: "b" } } };
    const existing = decided(world, { oldObject: routes(), object: labelled });
    assert.deepEqual([existing.allowed, existing.rules], [true, ["own/rule"]]);
    assert.equal(decided(world, { oldObject: routes(), object: routes("1s") }).outcome, "allow");
  });
  test("applies only where its policy applies, and other policies set its mode there", () => {
    const limited = policyWith(timeouts).replace("spec: {", "spec: {match: {namespaces: {names: [web]}}, ");
    assert.equal(decided({ policies: policiesIn(limited) }, { object: routes() }).outcome, "allow");
    const other = `---
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: {name: other}
spec: {match: {namespaces: {names: [shop]}}, rules: [{id: own/rule, mode: warn}]}
`;
    assert.equal(decided({ policies: policiesIn(`${limited}${other}`) }, { object: routes() }).outcome, "allow");
    assert.equal(
      decided({ policies: policiesIn(`${policyWith(timeouts)}${other}`) }, { object: routes() }).outcome,
      "warn",
    );
  });
  test("an exception accepts it", () => {
    const exception = `---
apiVersion: meshward.io/v1alpha1
kind: MeshwardException
metadata: {name: e, namespace: shop}
spec: {rules: [own/rule], reason: r, owner: o, expiresAt: "2999-01-01T00:00:00Z"}
`;
    const policies = policiesIn(`${policyWith(timeouts)}${exception}`);
    assert.equal(decided({ policies }, { object: routes() }).allowed, true);
  });
  test("an audit finds it", () => {
    assert.deepEqual(audited({ ...world, mesh: JSON.stringify(routes()) }), [
      "own/rule VirtualService shop/reviews: It is wrong",
    ]);
    assert.deepEqual(audited({ ...world, mesh: JSON.stringify(routes("1s")) }), []);
  });
});

describe("what an expression sees", () => {
  const of = (fields: string) => ({ policies: policiesIn(policyWith(`kinds: [Deployment], mode: deny, ${fields}`)) });
  test("oldObject: only changes are compared", () => {
    const world = of("expression: 'object.spec.replicas >= oldObject.spec.replicas'");
    assert.equal(decided(world, { oldObject: deployment(2), object: deployment(1) }).allowed, false);
    assert.equal(decided(world, { oldObject: deployment(1), object: deployment(2) }).allowed, true);
    assert.equal(decided(world, { object: deployment(1) }).outcome, "allow");
    assert.deepEqual(audited({ ...world, mesh: JSON.stringify(deployment(1)) }), []);
  });
  test("request: who sends it", () => {
    const world = of(
      `expression: "request.userInfo.groups.exists(g, g == 'platform') || request.operation != 'CREATE'"`,
    );
    assert.equal(decided(world, { object: deployment(), groups: ["platform"] }).allowed, true);
    assert.equal(decided(world, { object: deployment(), groups: ["web"] }).allowed, false);
    assert.equal(decided(world, { oldObject: deployment(1), object: deployment(2), groups: ["web"] }).allowed, true);
    assert.deepEqual(audited({ ...world, mesh: JSON.stringify(deployment()) }), []);
  });
  test("request: who may change an object is asked for each change, also of what no rule reads", () => {
    const leads = "request.userInfo.groups.exists(g, g == 'leads')";
    const world = of(`expression: "object.metadata.name != 'web' || ${leads}"`);
    const paused = { ...deployment(2), spec: { ...deployment(2).spec, paused: true } };
    for (const object of [deployment(3), paused]) {
      const by = (group: string) => decided(world, { oldObject: deployment(2), object, groups: [group] });
      assert.equal(by("leads").allowed, true);
      assert.match(by("web").message ?? "", /\[own\/rule\] It is wrong/);
    }
  });
  test("namespaceObject: the labels of the namespace; if they are not known, nothing is denied and nothing is silent", () => {
    const world = of(`expression: "!('tier' in namespaceObject.metadata.labels) || object.spec.replicas > 1"`);
    assert.equal(decided({ ...world, mesh: namespace("tier: gold") }, { object: deployment() }).allowed, false);
    assert.equal(decided({ ...world, mesh: namespace("") }, { object: deployment() }).allowed, true);
    const unknown = decided(world, { object: deployment() });
    assert.deepEqual([unknown.allowed, unknown.outcome], [true, "warn"]);
    assert.match(unknown.warnings.join(), /the labels of Namespace shop are not known/);
  });
  test("params: set by policies", () => {
    const world = of("expression: 'object.spec.replicas >= params.least', parameters: {least: 1}");
    assert.equal(decided(world, { object: deployment(1) }).allowed, true);
    const more = `${policyWith("kinds: [Deployment], mode: deny, expression: 'object.spec.replicas >= params.least', parameters: {least: 1}")}---
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: {name: other}
spec: {rules: [{id: own/rule, parameters: {least: 2}}]}
`;
    assert.equal(decided({ policies: policiesIn(more) }, { object: deployment(1) }).allowed, false);
  });
  test("only the kinds that it names: a StatefulSet is no Deployment", () => {
    const world = of("expression: 'false'");
    assert.equal(decided(world, { object: { ...deployment(), kind: "StatefulSet" } }).outcome, "allow");
  });
  test("messageExpression, or the message if that fails", () => {
    const image = "object.spec.template.spec.containers[0].image";
    const world = of(`expression: 'false', messageExpression: "'image ' + ${image}"`);
    assert.match(decided(world, { object: deployment() }).message ?? "", /image web:1\.0/);
    const failing = of(`expression: 'false', messageExpression: "object.spec.template.spec.containers[7].image"`);
    assert.match(decided(failing, { object: deployment() }).message ?? "", /It is wrong/);
  });
});

describe("an expression that fails", () => {
  const failing = "kinds: [Deployment], mode: deny, expression: 'object.spec.minReadySeconds > 0'";
  const lenient = `---
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: {name: other}
spec: {rules: [{id: own/rule, onError: warn}]}
`;
  test("denies with the reason, its place and what to do, unless a policy says onError: warn", () => {
    const world = { policies: policiesIn(policyWith(failing)) };
    const { allowed, message = "" } = decided(world, { object: deployment() });
    assert.equal(allowed, false);
    assert.match(message, /failed, so it is not known .*: field not found: minReadySeconds \(line 1, column \d+/);
    assert.match(message, /Correct the expression of rule in MeshwardPolicy own/);
    const warned = decided({ policies: policiesIn(`${policyWith(failing)}${lenient}`) }, { object: deployment() });
    assert.deepEqual([warned.allowed, warned.outcome], [true, "warn"]);
  });
  test("for another object that failed before, it says nothing", () => {
    const byMesh =
      "kinds: [Deployment], mode: deny, expression: \"mesh.mtlsMode(object) == 'STRICT' && object.spec.minReadySeconds > 0\"";
    const mesh = `${namespace("istio-injection: enabled")}\n${JSON.stringify(deployment())}`;
    const policy = {
      apiVersion: "security.istio.io/v1",
      kind: "PeerAuthentication",
      metadata: { name: "default", namespace: "shop" },
      spec: { mtls: { mode: "STRICT" } },
    };
    const { policies } = { policies: policiesIn(policyWith(byMesh)) };
    const strict = `${mesh}\n---\n${JSON.stringify(policy)}`;
    const labelled = { ...policy, metadata: { ...policy.metadata, labels: { a: "b" } } };
    const decision = decided({ policies, mesh: strict }, { oldObject: policy, object: labelled });
    assert.deepEqual(decision.rules, []);
  });
  test("what costs too much is an error, and does not take long", () => {
    const policies = policiesIn(
      policyWith(
        "kinds: [Deployment], mode: deny, expression: 'object.spec.template.spec.containers.all(a, object.spec.template.spec.containers.all(b, object.spec.template.spec.containers.all(c, a.name != b.name || true)))'",
      ),
    );
    const { spec, ...rest } = deployment();
    const containers = Array.from({ length: 3_000 }, (_, i) => ({ name: `c${i}`, image: "a" }));
    const object = { ...rest, spec: { ...spec, template: { ...spec.template, spec: { containers } } } };
    const { allowed, message = "" } = decided({ policies }, { object });
    assert.equal(allowed, false);
    assert.match(message, /costs more than 20000 steps/);
  });
});

describe("rules that know the mesh", () => {
  const strict = (mode = "STRICT") => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
---`;
  const byMode = policiesIn(
    policyWith(`kinds: [Deployment], mode: deny, expression: "mesh.mtlsMode(object) == 'STRICT'"`),
  );
  const mesh = `${namespace("istio-injection: enabled")}${strict()}\n${JSON.stringify(deployment())}`;

  test("a change of another object leads to the objects that it affects", () => {
    const [policy] = rawsIn(strict());
    const [open] = rawsIn(strict("PERMISSIVE"));
    assert.ok(policy !== undefined && open !== undefined);
    const decision = decided({ policies: byMode, mesh }, { oldObject: policy, object: open });
    assert.equal(decision.allowed, false);
    assert.match(decision.message ?? "", /\[own\/rule\] Deployment shop\/web: It is wrong/);
    assert.equal(decided({ policies: byMode, mesh }, { oldObject: policy, object: policy }).outcome, "allow");
  });

  test("if a kind is unknown, the rule is skipped; if it is only assumed, a missing object denies nothing", () => {
    const knowledge = (kind: string) => (kind === "PeerAuthentication" ? "unknown" : "complete");
    const without = namespace("istio-injection: enabled");
    assert.equal(decided({ policies: byMode, mesh: without, knowledge }, { object: deployment() }).allowed, true);
    assert.deepEqual(audited({ policies: byMode, mesh, knowledge }), ["own/rule needs PeerAuthentication"]);
    const assumed = decided({ policies: byMode, mesh: without, knowledge: () => "assumed" }, { object: deployment() });
    assert.deepEqual([assumed.allowed, assumed.outcome], [true, "warn"]);
    assert.equal(decided({ policies: byMode, mesh: without }, { object: deployment() }).allowed, false);
  });

  test("reconcilers are warned where a finding rests on other objects, because these may follow", () => {
    const user = "system:serviceaccount:argocd:argocd-application-controller";
    const without = namespace("istio-injection: enabled");
    const decision = decided({ policies: byMode, mesh: without }, { object: deployment(), user });
    assert.deepEqual([decision.allowed, decision.rules.includes("own/rule")], [true, true]);
  });

  const shop = `${namespace("istio-injection: enabled, tier: gold")}${namespace("", "web")}${namespace("", "free")}`;
  const world = `${shop}
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: v1, labels: {v: "1"}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}, weight: 100}]}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: web}
spec: {hosts: [api.example.com], ports: [{number: 443, name: https, protocol: HTTPS}], resolution: DNS}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec: {}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web, namespace: shop}
spec: {ingress: [{port: {number: 9090, protocol: HTTP, name: http}, captureMode: NONE, defaultEndpoint: "127.0.0.1:80"}]}
---
${JSON.stringify(deployment())}`;
  const protecting = `---
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: {name: protection}
spec: {protectedNamespaces: {names: ["w*"], labels: {tier: gold}}}
`;
  for (const [kind, expression] of [
    ["Deployment", "mesh.dataPlane(object) == 'sidecar'"],
    ["Namespace", "mesh.dataPlane(object) == (object.metadata.name == 'shop' ? 'sidecar' : 'none')"],
    ["Deployment", "mesh.mtlsMode(object) == 'PERMISSIVE' && mesh.mtlsMode(object, 8080) == 'PERMISSIVE'"],
    ["Deployment", "mesh.mtlsMode(object, 9090) == 'PERMISSIVE' && mesh.mtlsMode(object, 9091) == 'none'"],
    ["Namespace", "object.metadata.name != 'shop' || mesh.mtlsMode(object) == 'PERMISSIVE'"],
    ["Deployment", "mesh.deniesByDefault(object) && mesh.deniesByDefault(object.metadata.namespace)"],
    ["Deployment", "!mesh.deniesByDefault('web')"],
    [
      "Deployment",
      "mesh.isProtected(object.metadata.namespace) && mesh.isProtected('web') && !mesh.isProtected('free')",
    ],
    ["Service", "mesh.waypoint(object) == ''"],
    [
      "VirtualService",
      "mesh.owner(object.spec.hosts[0]) == 'shop' && mesh.owner('api.example.com') == 'web' && mesh.owner('b.example.com') == ''",
    ],
    ["VirtualService", "object.spec.http.all(r, r.route.all(d, mesh.deniesByDefault(mesh.owner(d.destination.host))))"],
    [
      "VirtualService",
      "mesh.destinationRule('reviews').tls == 'ISTIO_MUTUAL' && mesh.destinationRule('reviews').names == ['shop/reviews']",
    ],
    [
      "VirtualService",
      "object.spec.http.all(r, r.route.all(d, d.destination.subset in mesh.destinationRule(d.destination.host).subsets))",
    ],
    [
      "DestinationRule",
      "mesh.routes(object.spec.host).all(r, r.subset in object.spec.subsets.map(s, s.name) && r.share == 100)",
    ],
    [
      "Deployment",
      "mesh.routes('reviews').size() == 1 && mesh.routes('reviews')[0].host == 'reviews.shop.svc.cluster.local'",
    ],
  ] as const)
    test(`${kind}: ${expression}`, () => {
      const own = policyWith(`kinds: [${kind}], expression: ${JSON.stringify(expression)}`);
      assert.deepEqual(audited({ policies: policiesIn(`${own}${protecting}`), mesh: world }), []);
      const negated = policyWith(`kinds: [${kind}], expression: ${JSON.stringify(`!(${expression})`)}`);
      assert.notDeepEqual(audited({ policies: policiesIn(`${negated}${protecting}`), mesh: world }), []);
    });

  test("what is out of reach is an error, not an answer", () => {
    const policies = policiesIn(
      policyWith(
        `kinds: [Deployment], expression: "mesh.deniesByDefault('w' + 'eb') && mesh.owner('x' + '.example.com') == ''"`,
      ),
    );
    assert.match(
      audited({ policies, mesh: world }).join(),
      /namespace "web" is neither that of Deployment shop\/web, nor one of its hosts, nor a constant in the expression/,
    );
  });

  test("labels that are not known decide nothing", () => {
    const policies = policiesIn(
      policyWith(`kinds: [Deployment], mode: deny, expression: "mesh.dataPlane(object) == 'sidecar'"`),
    );
    const decision = decided({ policies }, { object: deployment() });
    assert.deepEqual([decision.allowed, decision.outcome], [true, "warn"]);
    assert.match(decision.warnings.join(), /the labels of Namespace shop are not known/);
  });
});
