import type { AuditOutcome } from "../../controllers/background-audit.ts";
import { rulesInForce } from "../../custom-rules/in-force.ts";
import { selectionOf } from "../../engine/setting.ts";
import { meshPictureOf } from "../../explain/mesh-picture.ts";
import { allKinds } from "../../kube/kinds.ts";
import { htmlReport } from "../../report/html.ts";
import { reportOf } from "../../report/report.ts";
import { type FirstSeenOf, reportedRulings } from "../../report/reported-finding.ts";
import { rules } from "../../rules/index.ts";
import type { MeshStore } from "../../view/store.ts";
import { basisOf, countedByKind } from "../report-basis.ts";
import { failedRule, placesOf, skips } from "../report-output.ts";

export interface AuditPageOptions {
  /** Absent: there is no page. */
  readonly auditPage?: boolean;
  readonly profile: string;
  readonly docsUrl: string;
}

/** The page with what the last background audit of this replica found. It is made when someone asks for it. */
class AuditPage {
  readonly #options: AuditPageOptions;
  readonly #mesh: () => MeshStore;
  #outcome: AuditOutcome | undefined;
  #firstSeen: FirstSeenOf | undefined;
  #html: string | undefined;

  constructor(mesh: () => MeshStore, options: AuditPageOptions) {
    this.#mesh = mesh;
    this.#options = options;
  }

  readonly found = (outcome: AuditOutcome, firstSeen: FirstSeenOf): void => {
    this.#outcome = outcome;
    this.#firstSeen = firstSeen;
    this.#html = undefined;
  };

  /** Undefined: this replica has not audited. */
  readonly html = (): string | undefined => {
    if (this.#outcome !== undefined) this.#html ??= this.#made(this.#outcome);
    return this.#html;
  };

  #made({ rulings, skipped, errors, policies, atMs }: AuditOutcome): string {
    const { profile, docsUrl } = this.#options;
    const mesh = this.#mesh();
    const selection = selectionOf(policies);
    const places = placesOf([]);
    const left = skips(skipped);
    const basis = basisOf({
      ...{ rules: rulesInForce(rules, policies), profile, policies, selection, mesh },
      objects: countedByKind(...allKinds.map((kind) => mesh.all(kind))),
      skipped: new Set(left.map(({ rule }) => rule)),
    });
    const report = reportOf({
      basis: { ...basis, time: new Date(atMs).toISOString() },
      ...reportedRulings(rulings, { places, docsUrl, firstSeen: this.#firstSeen }),
      skipped: left,
      errors: errors.map((error) => failedRule(error, places)),
      objects: allKinds.reduce((sum, kind) => sum + mesh.count(kind), 0),
    });
    const picture = () => meshPictureOf(mesh, policies);
    return htmlReport(report, { page: { colour: false }, repositoryPath: (file) => file, picture });
  }
}

export const auditPageOf = (mesh: () => MeshStore, options: AuditPageOptions): Partial<AuditPage> =>
  options.auditPage ? new AuditPage(mesh, options) : {};
