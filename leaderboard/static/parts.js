// Parts of a page that are chosen: a select with data-parts sets its field, and elements with data-<field> are hidden
// where they have another value. Its first option is the start; one without a value hides
// nothing. An element with data-whole is hidden where all tables in it are.
(function () {
  "use strict";

  const selects = /** @type {HTMLSelectElement[]} */ (DOM.all("select[data-parts]"));
  const names = selects.map((select) => select.dataset.field || "");

  selects.forEach((select, index) => {
    const values = DOM.options("#" + select.id);
    BOARD.field(names[index], values[0], BOARD.oneOf(values, values[0]));
  });
  BOARD.onChange(function (state) {
    for (const name of names) {
      for (const part of DOM.all("[data-" + name + "]")) {
        part.hidden = state[name] !== "" && part.getAttribute("data-" + name) !== state[name];
      }
    }
    for (const whole of DOM.all("[data-whole]")) {
      whole.hidden = DOM.all(":scope > .scroll", whole).every((part) => part.hidden);
    }
  });
})();
