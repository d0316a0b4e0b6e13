// The choice of the model in the explorer: the field "run", links that keep it, and what the run did with the task.
//
//   EXPLORER.onRun((list, data) => ...)    called with the data of the task's lists and of the run (explorer.py) once
//                                          another run than the served one is chosen, and again after every change of it
//   EXPLORER.onBeside((name, list, data) => ...)    the same for a second run beside it; without data if there is none
/**
 * @typedef {[string, string, ...(string | number)[]]} ListedItem id, text; then path, width and height of each image
 * @typedef {{ documents: ListedItem[], values: number[], lists: number[][], judged: [number, number][][] }} ListData
 * @typedef {{ values: number[], top: number[][], scores: string[][], ranks: number[][], tied: number[] }} RunData
 */
const EXPLORER = (function () {
  "use strict";

  const form = DOM.one("#toolbar");
  const status = DOM.one("#status");
  const names = DOM.options("#run");
  const labels = new Map(
    DOM.all("#run option").map((one) => [/** @type {HTMLOptionElement} */ (one).value, one.textContent || ""]),
  );
  const label = (/** @type {string} */ name) => labels.get(name) || name;
  /** @type {((list: ListData, data: RunData) => void)[]} */
  const listeners = [];
  const besides = document.querySelector("#beside") ? DOM.options("#beside") : [""];
  /** @type {((name: string, list?: ListData, data?: RunData) => void)[]} */
  const besideListeners = [];
  let now = names[0];
  let beside = "";

  /**
   * The numbers of a query within `place`.
   * @param {ParentNode} place
   * @param {number} before
   * @param {number} after
   */
  function showValues(place, before, after) {
    DOM.one("[data-slot=after]", place).textContent = LOGIC.formatPoints(after);
    const gain = DOM.one("[data-slot=gain]", place);
    gain.textContent = LOGIC.formatGain(after - before);
    gain.className = LOGIC.signClass(after - before);
  }

  /**
   * @param {string} name
   * @param {ListData} list
   * @param {RunData} data
   */
  function showRun(name, list, data) {
    if (name !== now) {
      return;
    }
    status.textContent = "";
    for (const slot of DOM.all("[data-slot=run]")) {
      slot.textContent = label(name);
    }
    for (const listener of listeners) {
      listener(list, data);
    }
  }

  /** @param {string} query */
  function keepRun(query) {
    for (const link of DOM.all("a[data-keep]")) {
      const [address, ...hash] = (link.getAttribute("href") || "").split("#");
      link.setAttribute("href", [address.replace(/\?.*$/, "") + query, ...hash].join("#"));
    }
  }

  /**
   * The data of the task's lists and of a run; says so where it cannot be read.
   * @param {string} name
   * @param {(list: ListData, data: RunData) => void} use
   */
  function load(name, use) {
    status.textContent = "loading";
    const task = form.dataset.task;
    Promise.all([DATA.get("corpus/" + task), DATA.get("queries/" + task + "/" + name)]).then(
      ([list, data]) => use(list, data),
      () => (status.textContent = "the data of " + label(name) + " cannot be read"),
    );
  }

  /**
   * @param {string} name
   * @param {ListData} [list]
   * @param {RunData} [data]
   */
  function showBeside(name, list, data) {
    if (name !== beside) {
      return;
    }
    status.textContent = "";
    for (const listener of besideListeners) {
      listener(name, list, data);
    }
  }

  /** @param {State} state */
  function keepChoice(state) {
    const kept = [
      ["run", state.run === names[0] ? "" : state.run],
      ["beside", state.beside],
    ].filter(([, name]) => name);
    const query = kept.map(([field, name]) => field + "=" + encodeURIComponent(name)).join("&");
    keepRun(query ? "?" + query : "");
  }

  BOARD.field("run", names[0], BOARD.oneOf(names, names[0]));
  BOARD.field("beside", "", BOARD.oneOf(besides, ""));
  BOARD.onChange(function (state) {
    if (state.run === now && state.beside === beside) {
      return;
    }
    keepChoice(state);
    if (state.beside !== beside) {
      const second = state.beside;
      beside = second;
      if (second) {
        load(second, (list, data) => showBeside(second, list, data));
      } else {
        showBeside(second);
      }
    }
    if (state.run !== now) {
      const wanted = state.run;
      now = wanted;
      load(wanted, (list, data) => showRun(wanted, list, data));
    }
  });

  return {
    onRun: (/** @type {(list: ListData, data: RunData) => void} */ listener) => listeners.push(listener),
    onBeside: (/** @type {(name: string, list?: ListData, data?: RunData) => void} */ listener) =>
      besideListeners.push(listener),
    showValues,
    label,
    root: form.dataset.root || "",
  };
})();
