// The state of a page, all of it in its address: what is chosen, sorted, filtered. A page is whole without scripts, and
// no script writes a number. Other files name fields and listen:
//
//   BOARD.field("sort", "", (text) => ...)    start value, and which value a text from the address stands for
//   BOARD.onChange((state) => ...)            called once at the start and after every change
//   BOARD.change({ sort: "types" })           sets fields, writes the address, tells the listeners
//
// A control with data-field="<name>" sets that field and shows it; one with data-reset sets all back. Fields that have
// their start value, and addresses that nobody made, leave no trace.
const BOARD = (function () {
  "use strict";

  const fields = new Map();
  const listeners = [];
  const state = {};

  function field(name, start, clean) {
    fields.set(name, { start: start, clean: clean });
    state[name] = start;
  }

  function read() {
    const query = new URLSearchParams(window.location.search);
    for (const [name, one] of fields) {
      state[name] = query.has(name) ? one.clean(query.get(name)) : one.start;
    }
  }

  function write() {
    const query = new URLSearchParams();
    for (const [name, one] of fields) {
      if (state[name] !== one.start) {
        query.set(name, state[name]);
      }
    }
    const text = query.toString();
    window.history.replaceState(null, "", window.location.pathname + (text && "?" + text) + window.location.hash);
  }

  function show() {
    for (const control of document.querySelectorAll("[data-field]")) {
      if (control.value !== state[control.dataset.field]) {
        control.value = state[control.dataset.field];
      }
    }
    listeners.forEach((listener) => listener(state));
  }

  function change(changes) {
    Object.assign(state, changes);
    write();
    show();
  }

  function reset() {
    change(Object.fromEntries(Array.from(fields, ([name, one]) => [name, one.start])));
  }

  // After every other script of the page, so that all fields are known.
  document.addEventListener("DOMContentLoaded", function () {
    for (const control of document.querySelectorAll("[data-field]")) {
      control.addEventListener("input", () => change({ [control.dataset.field]: control.value }));
    }
    for (const button of document.querySelectorAll("[data-reset]")) {
      button.addEventListener("click", reset);
    }
    for (const form of document.querySelectorAll(".toolbar")) {
      form.addEventListener("submit", (event) => event.preventDefault());
      form.hidden = false;
    }
    document.documentElement.classList.add("js");
    read();
    show();
  });
  window.addEventListener("popstate", function () {
    read();
    show();
  });

  return {
    field: field,
    onChange: (listener) => listeners.push(listener),
    change: change,
    oneOf: (allowed, start) => (text) => (allowed.includes(text) ? text : start),
  };
})();
