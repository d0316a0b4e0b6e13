// Bars of runs that the filter of the tables (tables.js, before this one) has hidden step back.
BOARD.onChange(function () {
  "use strict";

  const hidden = new Set(DOM.all("tr[data-run][hidden]").map((row) => row.dataset.run));
  for (const bar of DOM.all("g.mark[data-run]")) {
    bar.classList.toggle("off", hidden.has(bar.dataset.run));
  }
});
