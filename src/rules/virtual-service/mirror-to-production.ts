import { defineRule } from "../../engine/rule.ts";
import { fullHost, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { type HttpRoute, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";

// In CEL: the host of a destination in full, and in a list the namespace of a service, as fullHost and namespaceOfHost find them.
const fullHostInCel = (host: string): string =>
  `(${host} == '' || ${host} == '*' || ${host}.contains('.') || ${host}.contains(':') ? ${host} : ${host} + '.' + object.metadata.namespace + '.svc.' + settings.domain)`;
const namespaceInCel = (host: string): string =>
  `(${host}.startsWith('*') ? [] : ['.svc.' + settings.domain, '.svc.clusterset.local'].filter(e, ${host}.endsWith(e)).map(e, ${host}.substring(0, size(${host}) - size(e)).split('.')).filter(p, p.size() == 2 && p[0] != '' && p[1] != '').map(p, p[1]))`;
const hostsInCel = (destinations: string): string =>
  `${destinations}.filter(d, has(d.host)).map(d, ${fullHostInCel("d.host")})`;
const mirroredInCel = `((has(r.mirror) && (has(r.mirrorPercentage) ? has(r.mirrorPercentage.value) && double(r.mirrorPercentage.value) > 0.0 : !has(r.mirrorPercent) || r.mirrorPercent > 0) ? [r.mirror] : [])
+ (has(r.mirrors) ? r.mirrors : []).filter(m, has(m.destination) && (!has(m.percentage) || has(m.percentage.value) && double(m.percentage.value) > 0.0)).map(m, m.destination))`;
const destinationsInCel = "(has(r.route) ? r.route : []).filter(d, has(d.destination)).map(d, d.destination)";
const ofDelegateInCel =
  "(has(r.delegate) && has(r.delegate.namespace) && r.delegate.namespace != '' ? [r.delegate.namespace] : [])";
const servedInCel = `([object.metadata.namespace] + ${ofDelegateInCel} + ${hostsInCel(destinationsInCel)}.map(h, ${namespaceInCel("h")}).filter(n, n.size() > 0).map(n, n[0]))`;
// CEL cannot join the lists of all routes: a problem is a route with all hosts that it mirrors to.
const problemsInCel = (
  object: "object" | "oldObject",
): string => `(has(${object}.spec) && has(${object}.spec.http) ? ${object}.spec.http : []).filter(r, !has(r.redirect) && !has(r.directResponse))
.map(r, [dyn(${hostsInCel(mirroredInCel)}.filter(h, ${namespaceInCel("h")}.exists(n, !(n in ${servedInCel})))), has(r.name) ? dyn(r.name) : dyn(null), has(r.match) ? dyn(r.match) : dyn([])])
.filter(p, p[0].size() > 0)`;
const countInCel = (problems: string): string =>
  `${problems}.filter(p, p[1] == problem[1] && p[2] == problem[2]).map(p, p[0].filter(x, x == one).size()).sum()`;
// And so it is new only if one of its hosts is mirrored to more often than before by the routes with its name and match.
const isNotNewInCel = `has(oldObject.spec) && problem[0].all(one, ${countInCel(problemsInCel("object"))} <= ${countInCel(problemsInCel("oldObject"))})`;

export const virtualServiceMirrorToProduction = defineRule({
  id: "virtual-service-mirror-to-production",
  subject: "VirtualService",
  reads: [],
  onlyWithFields: ["spec.http.mirror", "spec.http.mirrors"],
  mode: "warn",
  since: "0.1.0",
  tags: ["canary"],
  summary: "A route mirrors its requests to a service of another namespace.",
  why: "Envoy sends a copy of each request and ignores the answer (Istio pilot/pkg/networking/core/route/route.go TranslateRequestMirrorPolicy). The service that gets the copies cannot tell them from requests of users: orders are placed twice, and credentials in headers reach another team.",
  fix: "Mirror to a service in the namespace of the route or of its destinations. If the other service is made for such copies, accept the finding with an exception.",
  incident: {
    symptoms: ["repeated"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The service that gets the copies shows more requests than its clients send, and writes take effect twice.",
    wayOut: "Remove `mirror` and `mirrors` from the route.",
    silentWhen:
      "The mirror is in the namespace of the route, of one of its destinations or of the delegate that it names, its percentage is 0, or a route of the Gateway API mirrors, for which the other namespace needs a ReferenceGrant.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/mirroring/",
  },

  cel: { problems: problemsInCel("object"), isRollback: isNotNewInCel },

  *check(virtualService, { settings }) {
    for (const { at, route, destination } of trafficOf(virtualService)) {
      if (at[3] === "route" || !("mirrors" in route)) continue;
      const host = fullHost(destination.host, virtualService.metadata.namespace, settings.domain);
      const namespace = namespaceOfHost(host, settings.domain);
      if (namespace === undefined || namespacesServed(virtualService, route, settings).has(namespace)) continue;
      yield {
        at,
        message: `Requests are mirrored to "${host}", a service of namespace "${namespace}"`,
        key: JSON.stringify([host, route.name, route.match]),
      };
    }
  },
});

/** The namespaces that a route serves: those of its destinations or of its delegate, and that of the VirtualService. */
const namespacesServed = (
  { metadata: { namespace } }: VirtualService,
  { route, delegate }: HttpRoute,
  { domain }: MeshSettings,
): ReadonlySet<string | undefined> =>
  new Set([
    namespace,
    delegate?.namespace || namespace,
    ...route.map(({ destination }) => namespaceOfHost(fullHost(destination.host, namespace, domain), domain)),
  ]);
