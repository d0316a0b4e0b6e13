// Marks of models that the filter of the tables (board.js) has hidden step back.
document.addEventListener("board-drawn", function () {
  "use strict";

  const tables = DOM.all("table.board[data-shown]");
  const shown = new Set(tables.flatMap((table) => (table.dataset.shown || "").split(" ")));
  for (const mark of DOM.all("g.mark")) {
    mark.classList.toggle("off", tables.length > 0 && !shown.has(mark.dataset.run || ""));
  }
});
