// Bars of runs that the filter of the tables (tables.js, before this one) has hidden step back.
(function () {
  "use strict";

  BOARD.onChange(function () {
    const hidden = new Set(Array.from(document.querySelectorAll("tr[data-run][hidden]"), (row) => row.dataset.run));
    for (const bar of document.querySelectorAll("g.mark[data-run]")) {
      bar.classList.toggle("off", hidden.has(bar.dataset.run));
    }
  });
})();
