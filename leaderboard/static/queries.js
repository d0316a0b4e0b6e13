// The choice of the run in the explorer: the field "run", links that keep it, and what the run did with the task.
//
//   EXPLORER.onRun((list, data) => ...)    called with the data of the task's lists and of the run (explorer.py) once
//                                          another run than the served one is chosen, and again after every change of it
/**
 * @typedef {[string, string, ...(string | number)[]]} ListedItem id, text; then path, width and height of each image
 * @typedef {{ documents: ListedItem[], values: number[], lists: number[][], judged: [number, number][][] }} ListData
 * @typedef {{ values: number[], top: number[][], scores: string[][], ranks: number[][] }} RunData
 */
const EXPLORER = (function () {
  "use strict";

  const form = DOM.one("#toolbar");
  const status = DOM.one("#status");
  const names = DOM.options("#run");
  /** @type {((list: ListData, data: RunData) => void)[]} */
  const listeners = [];
  let now = names[0];

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
      slot.textContent = name;
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

  BOARD.field("run", names[0], BOARD.oneOf(names, names[0]));
  BOARD.onChange(function (state) {
    if (state.run === now) {
      return;
    }
    const wanted = state.run;
    now = wanted;
    keepRun(now === names[0] ? "" : "?run=" + encodeURIComponent(now));
    status.textContent = "loading";
    const task = form.dataset.task;
    Promise.all([DATA.get("corpus/" + task), DATA.get("queries/" + task + "/" + wanted)]).then(
      ([list, data]) => showRun(wanted, list, data),
      () => (status.textContent = "the data of " + wanted + " cannot be read"),
    );
  });

  return {
    onRun: (/** @type {(list: ListData, data: RunData) => void} */ listener) => listeners.push(listener),
    showValues,
    root: form.dataset.root || "",
  };
})();
