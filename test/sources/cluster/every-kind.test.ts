import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { allKinds, type Kind, kinds, type Served } from "../../../src/kube/kinds.ts";
import { titleOf } from "../../../src/sources/cluster/resources.ts";
import type { ListWatchServer, RawObject } from "./list-watch-server.ts";
import { type LiveCluster, liveCluster } from "./live-cluster.ts";

/** Names that a row of the table is used under: Istio's ConfigMaps are found by name, or by the label of a revision. */
const namesOf = (kind: Kind) => names[kind] ?? { listed: "listed", added: "added" };
const names: Partial<Record<Kind, { readonly listed: string; readonly added: string }>> = {
  MeshConfig: { listed: "istio", added: "istio-canary" },
  InjectorConfig: { listed: "istio-sidecar-injector", added: "istio-sidecar-injector-canary" },
};
const data: Partial<Record<Kind, object>> = { MeshConfig: { mesh: "{}" }, InjectorConfig: { config: "{}" } };

function objectOf(kind: Kind, { namespaced }: Served, name: string, edition: string): RawObject {
  const labels = { "istio.io/rev": "canary", edition };
  return {
    metadata: { name, labels, ...(namespaced ? { namespace: "istio-system" } : {}) },
    data: data[kind],
  };
}

const serve = (server: ListWatchServer, { group, versions, kind, plural }: Served) =>
  server.serve(group === "" ? `${versions[0]}` : `${group}/${versions[0]}`, kind, plural);

interface Row extends LiveCluster {
  /** Objects of the kind as the mesh view has them: `Deployment istio-system/listed first`. */
  seen(): readonly string[];
  /** What `seen` should be: the brothers, and these of the row itself. */
  expected(own: Readonly<Record<string, string>>): readonly string[];
  apply(name: string, edition: string): void;
  delete(name: string): void;
}

/** Follows a kind whose other resources hold objects of the same names, so that no key may take one for the other. */
async function followed(context: TestContext, kind: Kind, served: Served): Promise<Row> {
  const { listed, added } = namesOf(kind);
  const brothers = kinds[kind].served.filter((other) => other.kind !== served.kind);
  const apply = (server: ListWatchServer, to: Served, name: string, edition: string) =>
    void server.apply(to.plural, objectOf(kind, to, name, edition));
  const live = await liveCluster(
    context,
    (server) => {
      for (const each of kinds[kind].served) serve(server, each);
      for (const brother of brothers)
        for (const name of [listed, added]) apply(server, brother, name, "of another resource");
      apply(server, served, listed, "first");
    },
    { kinds: [kind] },
  );
  const place = (to: Served, name: string) => (to.namespaced ? `istio-system/${name}` : `/${name}`);
  const shown = (to: Served, name: string, edition: string) => `${to.kind} ${place(to, name)} ${edition}`;
  return {
    ...live,
    seen: () =>
      [...live.cluster.mesh().all(kind)]
        .map(({ originKind, metadata: { namespace, name, labels } }) =>
          [originKind, `${namespace}/${name}`, labels["edition"]].join(" "),
        )
        .sort(),
    expected: (own) =>
      [
        ...brothers.flatMap((brother) => [listed, added].map((name) => shown(brother, name, "of another resource"))),
        ...Object.entries(own).map(([name, edition]) => shown(served, name, edition)),
      ].sort(),
    apply: (name, edition) => apply(live.server, served, name, edition),
    delete: (name) => live.server.delete(served.plural, place(served, name)),
  };
}

async function shows(row: Row, what: string, own: Readonly<Record<string, string>>): Promise<void> {
  const expected = row.expected(own);
  const isSeen = () => JSON.stringify(row.seen()) === JSON.stringify(expected);
  await row.until(what, isSeen).catch(() => assert.deepEqual(row.seen(), expected, what));
}

describe("every resource of the table of kinds is used", () => {
  for (const kind of allKinds)
    for (const served of kinds[kind].served)
      test(`${served.plural}.${served.group || "core"}`, async (context) => {
        const { listed, added } = namesOf(kind);
        const row = await followed(context, kind, served);
        await row.ready();
        await shows(row, "listed", { [listed]: "first" });
        row.apply(added, "first");
        await shows(row, "created", { [listed]: "first", [added]: "first" });
        row.apply(added, "second");
        row.apply(listed, "second");
        await shows(row, "updated", { [listed]: "second", [added]: "second" });
        row.delete(added);
        await shows(row, "deleted", { [listed]: "second" });

        row.apply(added, "third");
        await shows(row, "created again", { [listed]: "second", [added]: "third" });
        row.server.cutWatches();
        row.delete(listed);
        row.apply(added, "fourth");
        row.server.compact();
        await shows(row, "listed again: one is gone, one is another", { [added]: "fourth" });
        row.server.cutWatches();
        row.delete(added);
        row.server.compact();
        await shows(row, "listed again: nothing is left", {});
      });
});

describe("every resource that the API server does not serve at first is used when it does", () => {
  // An API server always serves ConfigMaps.
  for (const kind of allKinds)
    for (const served of kinds[kind].served)
      if (served.plural !== "configmaps")
        test(titleOf(served), async (context) => {
          const live = await liveCluster(context, () => undefined, { kinds: [kind] });
          const { cluster, server } = live;
          const note = () => cluster.checks.find(({ name }) => name === `mesh ${kind}`)?.note() ?? "";
          const seen = () =>
            [...cluster.mesh().all(kind)].map(({ originKind, metadata }) => `${originKind} ${metadata.name}`);
          await live.ready();
          assert.equal(cluster.mesh().knowledge(kind), "unknown");
          assert.ok(note().includes(`${titleOf(served)} absent`), note());
          assert.deepEqual(seen(), []);

          serve(server, served);
          server.apply(served.plural, objectOf(kind, served, "one", "first"));
          await live.until("read", () => seen().length > 0);
          assert.deepEqual(seen(), [`${served.kind} one`]);
          assert.equal(cluster.mesh().knowledge(kind), "complete");
          await live.until("watched", () => server.watchersOf(served.plural) === 1);
          server.apply(served.plural, objectOf(kind, served, "two", "first"));
          await live.until("followed", () => seen().length === 2);
        });
});
