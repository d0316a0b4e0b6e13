// The list of a task's queries: their numbers and the plot for the chosen run, in the chosen order, filtered.
(function () {
  "use strict";

  const body = DOM.one("table.queries tbody");
  const status = DOM.one("#status");
  const rows = DOM.rows(body);
  const number = (/** @type {HTMLElement} */ row) => Number(row.dataset.number);
  const read = (/** @type {HTMLElement} */ row, /** @type {string} */ slot) =>
    Math.round(100 * Number(DOM.one("[data-slot=" + slot + "]", row).textContent));
  // By row, in hundredths of a point.
  const gains = new Map(rows.map((row) => [row, read(row, "after") - read(row, "before")]));
  const gain = (/** @type {HTMLTableRowElement} */ row) => gains.get(row) || 0;
  /** @type {State} */
  let state = {};

  /**
   * @param {number[]} sorted
   * @param {(gain: number) => boolean} wanted
   */
  function bars(sorted, wanted) {
    return sorted.map((one, index) => (wanted(one) ? "M" + index + " 0V" + -one : "")).join("");
  }

  function drawPlot() {
    const sorted = Array.from(gains.values()).sort((a, b) => b - a);
    const won = sorted.filter((one) => one > 0).length;
    const lost = sorted.filter((one) => one < 0).length;
    const counts = won + " won, " + (sorted.length - won - lost) + " tied, " + lost + " lost";
    DOM.one("[data-slot=counts]").textContent = counts;
    DOM.one(".gains .won").setAttribute(
      "d",
      bars(sorted, (one) => one > 0),
    );
    DOM.one(".gains .lost").setAttribute(
      "d",
      bars(sorted, (one) => one < 0),
    );
  }

  function arrangeRows() {
    const sign = { gain: -1, loss: 1 }[state.order] || 0;
    body.append(...rows.sort((a, b) => sign * (gain(a) - gain(b)) || number(a) - number(b)));
    const wanted = { won: "gain", tied: "same", lost: "loss" }[state.only];
    for (const row of rows) {
      const kept = !wanted || LOGIC.signClass(gain(row)) === wanted;
      row.hidden = !kept || !LOGIC.matches(row.cells[0].textContent || "", state.words);
    }
    status.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " queries";
  }

  BOARD.field("order", "gain", BOARD.oneOf(DOM.options("#order"), "gain"));
  BOARD.field("only", "all", BOARD.oneOf(DOM.options("#only"), "all"));
  BOARD.field("words", "", (words) => words.slice(0, DOM.control("words").maxLength));
  BOARD.onChange(function (now) {
    state = now;
    if (status.textContent !== "loading") {
      arrangeRows();
    }
  });
  EXPLORER.onRun(function (list, data) {
    for (const row of rows) {
      const place = number(row) - 1;
      EXPLORER.showValues(row, list.values[place], data.values[place]);
      gains.set(row, data.values[place] - list.values[place]);
    }
    drawPlot();
    arrangeRows();
  });
})();
