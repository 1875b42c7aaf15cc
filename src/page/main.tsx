import { render } from "preact";
import { useMemo } from "preact/hooks";
import type { PageData } from "../report/page-data.ts";
import { Findings } from "./findings.tsx";
import { MeshView } from "./mesh.tsx";
import { countsByNamespace } from "./select.ts";
import { type Change, type State, useHashState } from "./state.ts";
import { Summary } from "./summary.tsx";

const views = [
  ["summary", "Summary"],
  ["findings", "Findings"],
  ["mesh", "Mesh"],
] as const;

function Page({ data }: { readonly data: PageData }) {
  const [state, change] = useHashState();
  const counts = useMemo(() => countsByNamespace(data.findings), [data]);
  return (
    <>
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to content
      </a>
      <header>
        <h1>Meshward audit</h1>
        <p class="basis">
          {data.summary.objects.toLocaleString("en")} objects, profile {data.basis.profile},{" "}
          {data.basis.time.replace("T", " ").slice(0, 16)} UTC, Meshward {data.basis.version}
        </p>
        <Navigation state={state} change={change} />
      </header>
      <main id="main" tabIndex={-1}>
        {state.view === "summary" && <Summary data={data} counts={counts} change={change} />}
        {state.view === "findings" && <Findings data={data} state={state} change={change} />}
        {state.view === "mesh" && <MeshView data={data} counts={counts} state={state} change={change} />}
      </main>
    </>
  );
}

function focusMain(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Navigation({ state, change }: { readonly state: State; readonly change: Change }) {
  return (
    <nav aria-label="Views">
      {views.map(([view, title]) => (
        <button
          type="button"
          key={view}
          aria-current={state.view === view ? "page" : undefined}
          onClick={() => change({ view })}
        >
          {title}
        </button>
      ))}
    </nav>
  );
}

const element = document.getElementById("data");
const target = document.getElementById("page");
if (element !== null && target !== null)
  render(<Page data={JSON.parse(element.textContent ?? "{}") as PageData} />, target);
