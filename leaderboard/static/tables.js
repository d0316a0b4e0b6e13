// Sorting of every table.sortable by its heads with data-column (data-kind="text" where it holds words): cells of that
// data-column are compared by data-value, those without are blanks. And the filter over all rows with data-search. Rows
// have their key in data-run or data-task, which the column "name" is sorted by. Needs the toolbar of
// controls.html.jinja.
(function () {
  "use strict";

  const DIRECTIONS = ["descending", "ascending"];
  const tables = Array.from(document.querySelectorAll("table.sortable"));
  const filter = document.querySelector("[data-field=filter]");
  const status = document.getElementById("status");
  const heads = (table) => Array.from(table.querySelectorAll("th[data-column]"));
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
    const sign = state.order === "ascending" ? 1 : -1;
    const body = table.querySelector("tbody.rows");
    const keyed = Array.from(body.rows, (row) => ({
      row: row,
      place: Number(row.dataset.place),
      key: head ? sortKey(row, state.sort, head.dataset.kind === "text") : null,
    }));
    keyed.sort(function (a, b) {
      if (a.key === null || b.key === null || a.key === b.key) {
        return (a.key === null) - (b.key === null) || a.place - b.place;
      }
      return a.key < b.key ? -sign : sign;
    });
    body.append(...keyed.map((one) => one.row));
  }

  function sortBy(th) {
    const first = th.dataset.kind === "text" ? "ascending" : "descending";
    const again = state.sort === th.dataset.column;
    const order = again ? DIRECTIONS[1 - DIRECTIONS.indexOf(state.order)] : first;
    BOARD.change({ sort: th.dataset.column, order: order });
  }

  // The words of a heading become its button, so that it can be reached and pressed by keyboard. Words that are a link
  // stay one, with a button beside them.
  function makeSortable(th) {
    const button = document.createElement("button");
    const link = th.querySelector("a");
    button.type = "button";
    if (link) {
      button.setAttribute("aria-label", "Sort by " + link.textContent);
      link.after(button);
    } else {
      button.append(...Array.from(th.childNodes).filter((node) => node.nodeType === Node.TEXT_NODE));
      button.normalize();
      th.prepend(button);
    }
    button.addEventListener("click", () => sortBy(th));
  }

  for (const table of tables) {
    Array.from(table.querySelector("tbody.rows").rows).forEach((row, place) => {
      row.dataset.place = String(place);
    });
    heads(table).forEach(makeSortable);
  }
  const columns = tables.flatMap((table) => heads(table).map((th) => th.dataset.column));
  BOARD.field("filter", "", (text) => text.slice(0, filter.maxLength));
  BOARD.field("sort", "", BOARD.oneOf(columns, ""));
  BOARD.field("order", DIRECTIONS[0], BOARD.oneOf(DIRECTIONS, DIRECTIONS[0]));

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
