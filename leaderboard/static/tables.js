// Sorting of every table.sortable by its heads with data-column (data-kind="text" where it holds words): cells of that
// data-column are compared by data-value, those without are blanks. And the filter over all rows with data-search. Rows
// have their key in data-run or data-task, which the column "name" is sorted by. Needs the toolbar of
// controls.html.jinja.
(function () {
  "use strict";

  const tables = /** @type {HTMLTableElement[]} */ (DOM.all("table.sortable"));
  const status = DOM.one("#status");
  const name = (/** @type {HTMLElement} */ row) => row.dataset.run || row.dataset.task || "";
  const rowsOf = (/** @type {HTMLTableElement} */ table) => DOM.rows(DOM.one("tbody.rows", table));
  /** @type {State} */
  let state = {};

  // A row that stands in several tables is counted once.
  function filterRows() {
    const shown = new Set();
    const all = new Set();
    for (const row of DOM.all("tr[data-search]")) {
      row.hidden = !LOGIC.matches(row.dataset.search || "", state.filter);
      all.add(name(row));
      if (!row.hidden) {
        shown.add(name(row));
      }
    }
    return shown.size + " of " + all.size + " " + status.dataset.noun;
  }

  /**
   * What a row is sorted by: null for a blank.
   * @param {HTMLTableRowElement} row
   * @param {HTMLTableCellElement} head
   */
  function sortKey(row, head) {
    if (state.sort === "name") {
      return name(row).toLowerCase();
    }
    const value = Array.from(row.cells).find((one) => one.dataset.column === state.sort)?.dataset.value;
    if (value === undefined) {
      return null;
    }
    return head.dataset.kind === "text" ? value.toLowerCase() : Number(value);
  }

  /** @param {HTMLTableElement} table */
  function sortTable(table) {
    const head = DOM.heads(table).find((th) => th.dataset.column === state.sort);
    HEADS.showSorted(table, state);
    const keyed = rowsOf(table).map((row) => ({
      row,
      place: Number(row.dataset.place),
      key: head ? sortKey(row, head) : null,
    }));
    DOM.one("tbody.rows", table).append(...LOGIC.sortKeyed(keyed, state.order).map((one) => one.row));
  }

  for (const table of tables) {
    rowsOf(table).forEach((row, place) => (row.dataset.place = String(place)));
    HEADS.makeSortable(table, () => state, BOARD.change);
  }
  const columns = tables.flatMap((table) => DOM.heads(table).map((th) => th.dataset.column || ""));
  BOARD.field("filter", "", (text) => text.slice(0, DOM.control("filter").maxLength));
  BOARD.field("sort", "", BOARD.oneOf(columns, ""));
  BOARD.field("order", HEADS.directions[0], BOARD.oneOf(HEADS.directions, HEADS.directions[0]));

  /** @type {string | null} */
  let sorted = null;
  /** @type {string | null} */
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
      counted = filterRows();
    }
    status.textContent = counted + (state.sort && ", sorted by " + state.sort + ", " + state.order);
  });
})();
