// Marks of rerankers that the filter of the tables (board.js, before this one) has hidden step back.
(function () {
  "use strict";

  function show() {
    const tables = Array.from(document.querySelectorAll("table.board[data-shown]"));
    const shown = new Set(tables.flatMap((table) => table.dataset.shown.split(" ")));
    for (const mark of document.querySelectorAll("g.mark")) {
      mark.classList.toggle("off", tables.length > 0 && !shown.has(mark.dataset.run));
    }
  }

  document.addEventListener("board-drawn", show);
})();
