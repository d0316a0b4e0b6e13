// Marks of runs that the filter of the tables (tables.js, before this one) has hidden step back.
(function () {
  "use strict";

  BOARD.onChange(function () {
    const rows = Array.from(document.querySelectorAll("tr[data-run]:not([hidden])"));
    const shown = new Set(rows.map((row) => row.dataset.run));
    for (const mark of document.querySelectorAll("g.mark")) {
      mark.classList.toggle("off", !shown.has(mark.dataset.run));
    }
  });
})();
