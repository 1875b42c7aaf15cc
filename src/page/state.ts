import { useEffect, useState } from "preact/hooks";

/** The scale of the picture; `fit`: all of it is in sight. */
export type Zoom = number | "fit";

/** Everything that a reader has chosen. It is in the hash of the URL, so that it can be sent to others. */
export interface State {
  readonly view: "summary" | "findings" | "mesh";
  readonly text: string;
  readonly namespace: string;
  readonly rule: string;
  /** Of `deny`, `warn`, `audit` and `accepted`, the ones that are shown. */
  readonly modes: readonly string[];
  /** The namespace that the picture shows alone. */
  readonly focus: string;
  readonly zoom: Zoom;
}

const initial: State = {
  view: "summary",
  text: "",
  namespace: "",
  rule: "",
  modes: ["deny", "warn", "audit"],
  focus: "",
  zoom: 1,
};

/** Reads a hash; what it does not understand has its initial value. */
export function stateOf(hash: string): State {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (name: string): string => parameters.get(name) ?? "";
  const view = text("view");
  const scale = Number(text("zoom"));
  return {
    view: view === "findings" || view === "mesh" ? view : "summary",
    text: text("q"),
    namespace: text("namespace"),
    rule: text("rule"),
    modes: parameters.get("modes")?.split(",") ?? initial.modes,
    focus: text("focus"),
    zoom: text("zoom") === "fit" ? "fit" : scale >= 0.05 && scale <= 8 ? scale : 1,
  };
}

export function hashOf(state: State): string {
  const parameters = new URLSearchParams();
  const add = (name: string, value: string, usual: string) => value !== usual && parameters.set(name, value);
  add("view", state.view, initial.view);
  add("q", state.text, "");
  add("namespace", state.namespace, "");
  add("rule", state.rule, "");
  add("modes", state.modes.join(), initial.modes.join());
  add("focus", state.focus, "");
  add("zoom", String(state.zoom), "1");
  return `#${parameters.toString()}`;
}

export type Change = (change: Partial<State>) => void;

/** The state, and a function that changes it. Another view is an entry in the history; a filter is not. */
export function useHashState(): readonly [State, Change] {
  const [state, setState] = useState(() => stateOf(location.hash));
  useEffect(() => {
    const read = () => setState(stateOf(location.hash));
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  const change: Change = (part) => {
    const next = { ...state, ...part };
    const isPlace = part.view !== undefined || part.focus !== undefined;
    history[isPlace ? "pushState" : "replaceState"](null, "", hashOf(next));
    setState(next);
  };
  return [state, change];
}
