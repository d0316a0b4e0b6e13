// Sorting of every table.sortable by its heads with data-column (data-kind="text" where it holds words): cells of that
// data-column are compared by data-value, those without are blanks. And the filter over all rows with data-search. Rows
// have their key in data-run or data-task, which the column "name" is sorted by. Needs heads.js and the toolbar of
// controls.html.jinja.
(function () {
  "use strict";

  const tables = Array.from(document.querySelectorAll("table.sortable"));
  const filter = document.querySelector("[data-field=filter]");
  const status = document.getElementById("status");
  const heads = HEADS.of;
  const name = (row) => row.dataset.run || row.dataset.task;
  let state = {};

  // A row that stands in several tables is counted once.
  function showRows() {
    const wanted = state.filter.trim().toLowerCase();
    const shown = new Set();
    const all = new Set();
    for (const row of document.querySelectorAll("tr[data-search]")) {
      row.hidden = !row.dataset.search.toLowerCase().includes(wanted);
      all.add(name(row));
      if (!row.hidden) {
        shown.add(name(row));
      }
    }
    return shown.size + " of " + all.size + " " + status.dataset.noun;
  }

  // What a row is sorted by: null for a blank, which stays last in both directions.
  function sortKey(row, column, isText) {
    if (column === "name") {
      return name(row).toLowerCase();
    }
    const cell = Array.from(row.cells).find((one) => one.dataset.column === column);
    if (!cell || cell.dataset.value === undefined) {
      return null;
    }
    return isText ? cell.dataset.value.toLowerCase() : Number(cell.dataset.value);
  }

  function sortTable(table) {
    const head = heads(table).find((th) => th.dataset.column === state.sort);
    for (const th of heads(table)) {
      th.setAttribute("aria-sort", th === head ? state.order : "none");
    }
    const body = table.querySelector("tbody.rows");
    const keyed = Array.from(body.rows, (row) => ({
      row: row,
      place: Number(row.dataset.place),
      key: head ? sortKey(row, state.sort, head.dataset.kind === "text") : null,
    }));
    body.append(...HEADS.sorted(keyed, state.order).map((one) => one.row));
  }

  for (const table of tables) {
    Array.from(table.querySelector("tbody.rows").rows).forEach((row, place) => {
      row.dataset.place = String(place);
    });
    heads(table).forEach((th) => HEADS.makeSortable(th, () => state, BOARD.change));
  }
  const columns = tables.flatMap((table) => heads(table).map((th) => th.dataset.column));
  BOARD.field("filter", "", (text) => text.slice(0, filter.maxLength));
  BOARD.field("sort", "", BOARD.oneOf(columns, ""));
  BOARD.field("order", HEADS.directions[0], BOARD.oneOf(HEADS.directions, HEADS.directions[0]));

  let sorted = null;
  let filtered = null;
  let counted = "";
  BOARD.onChange(function (now) {
    const order = now.sort && now.sort + " " + now.order;
    state = now;
    if (order !== sorted) {
      sorted = order;
      tables.forEach(sortTable);
    }
    if (state.filter !== filtered) {
      filtered = state.filter;
      counted = showRows();
    }
    status.textContent = counted + (state.sort && ", sorted by " + state.sort + ", " + state.order);
  });
})();
