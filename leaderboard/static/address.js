// The state of a page's controls. It stands in the page's address, so that a link brings it back.
//
//   BOARD.field(name, start, clean)    a field of the state; `clean` returns a valid value for any text
//   BOARD.onChange(listener)           called with the state at the start and after each change
//   BOARD.change({ name: value })      changes the state, writes the address, tells the listeners
//
// A link in [data-carry] leads on with the state: all fields but those that it names. A control with data-field="<name>" sets that field and shows it; one with data-reset sets all back. Fields that have
// their start value, and addresses that nobody made, leave no trace.
const BOARD = (function () {
  "use strict";

  /** @type {Map<string, Field>} */
  const fields = new Map();
  /** @type {((state: State) => void)[]} */
  const listeners = [];
  /** @type {State} */
  const state = {};

  /**
   * @param {string} name
   * @param {string} start
   * @param {(text: string) => string} clean
   */
  function field(name, start, clean) {
    fields.set(name, { start, clean });
    state[name] = start;
  }

  /** @returns {(HTMLInputElement | HTMLSelectElement)[]} */
  function controls() {
    return Array.from(document.querySelectorAll("[data-field]"));
  }

  /** Links with the state behind them; what another page has no field for, it leaves out. */
  function carry() {
    for (const place of DOM.all("[data-carry]")) {
      const left = (place.dataset.carry || "").split(" ");
      const kept = new Map(Array.from(fields).filter(([name]) => !left.includes(name)));
      for (const link of DOM.all("a[href]", place)) {
        const [address, ...hash] = (link.getAttribute("href") || "").split("#");
        const query = LOGIC.writeState(state, kept);
        link.setAttribute("href", [address.replace(/\?.*$/, "") + query, ...hash].join("#"));
      }
    }
  }

  function show() {
    for (const control of controls()) {
      const value = state[control.dataset.field || ""];
      if (control.value !== value) {
        control.value = value;
      }
    }
    for (const listener of listeners) {
      listener(state);
    }
    carry();
  }

  /** @param {State} changes */
  function change(changes) {
    Object.assign(state, changes);
    const { pathname, hash } = window.location;
    window.history.replaceState(null, "", pathname + LOGIC.writeState(state, fields) + hash);
    show();
  }

  function read() {
    Object.assign(state, LOGIC.readState(window.location.search, fields));
    show();
  }

  // After every other script of the page, so that all fields are known.
  document.addEventListener("DOMContentLoaded", function () {
    for (const control of controls()) {
      control.addEventListener("input", () => change({ [control.dataset.field || ""]: control.value }));
    }
    for (const button of DOM.all("[data-reset]")) {
      button.addEventListener("click", () => change(LOGIC.readState("", fields)));
    }
    for (const form of DOM.all(".toolbar")) {
      form.addEventListener("submit", (event) => event.preventDefault());
      form.hidden = false;
    }
    document.documentElement.classList.add("js");
    read();
  });
  window.addEventListener("popstate", read);

  return {
    field,
    onChange: (/** @type {(state: State) => void} */ listener) => listeners.push(listener),
    change,
    /** @type {(allowed: string[], start: string) => (text: string) => string} */
    oneOf: (allowed, start) => (text) => (allowed.includes(text) ? text : start),
  };
})();
