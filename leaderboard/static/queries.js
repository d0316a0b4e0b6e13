// The choice of the run in the explorer: the field "run", links that keep it, and what the run did with the task.
//
//   EXPLORER.onRun((run) => ...)    called with { name, values, before, data, list } once another run than the served one
//                                   is chosen, and again after every change of the run
const EXPLORER = (function () {
  "use strict";

  const form = document.getElementById("toolbar");
  const select = document.getElementById("run");
  const status = document.getElementById("status");
  const names = Array.from(select.options, (option) => option.value);
  const listeners = [];
  let now = names[0];

  const points = (value) => (value / 100).toFixed(2);
  const gained = (value) => (value === 0 ? "" : value > 0 ? "+" : "\u2212") + points(Math.abs(value));
  const sign = (value) => (value > 0 ? "gain" : value < 0 ? "loss" : "same");

  // An element with a class and what is in it: texts are inserted as text.
  function make(tag, className, ...inside) {
    const element = document.createElement(tag);
    if (className) {
      element.className = className;
    }
    element.append(...inside);
    return element;
  }

  // The three numbers of a query within `place`.
  function showValues(place, before, after) {
    place.querySelector("[data-slot=after]").textContent = points(after);
    const gain = place.querySelector("[data-slot=gain]");
    gain.textContent = gained(after - before);
    gain.className = sign(after - before);
  }

  function show(name, list, data) {
    if (name !== now) {
      return;
    }
    status.textContent = "";
    document.querySelectorAll("[data-slot=run]").forEach((slot) => (slot.textContent = name));
    listeners.forEach((listener) => listener(list, data));
  }

  function keep(query) {
    for (const link of document.querySelectorAll("a[data-keep]")) {
      const address = link.getAttribute("href");
      const hash = address.indexOf("#") < 0 ? "" : address.slice(address.indexOf("#"));
      link.setAttribute("href", address.replace(/[?#].*$/, "") + query + hash);
    }
  }

  BOARD.field("run", names[0], BOARD.oneOf(names, names[0]));
  BOARD.onChange(function (state) {
    if (state.run === now) {
      return;
    }
    now = state.run;
    keep(now === names[0] ? "" : "?run=" + encodeURIComponent(now));
    status.textContent = "loading";
    const wanted = now;
    const task = form.dataset.task;
    Promise.all([DATA.get("corpus/" + task), DATA.get("queries/" + task + "/" + wanted)]).then(
      ([list, data]) => show(wanted, list, data),
      () => (status.textContent = "the data of " + wanted + " cannot be read"),
    );
  });

  return {
    onRun: (listener) => listeners.push(listener),
    make: make,
    points: points,
    gained: gained,
    showValues: showValues,
    root: form.dataset.root,
  };
})();
