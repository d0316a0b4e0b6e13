// The list of a task's queries: their numbers and the plot for the chosen run, in the chosen order, filtered.
(function () {
  "use strict";

  const body = document.querySelector("table.queries tbody");
  const status = document.getElementById("status");
  const rows = Array.from(body.rows);
  const number = (row) => Number(row.dataset.number);
  const text = (row) => row.cells[0].textContent.toLowerCase();
  const options = (id) => Array.from(document.getElementById(id).options, (option) => option.value);
  let gains = new Map(rows.map((row) => [row, read(row, "after") - read(row, "before")]));
  let state = {};

  function read(row, slot) {
    return Math.round(100 * Number(row.querySelector("[data-slot=" + slot + "]").textContent));
  }

  function bars(sorted, wanted) {
    const lines = sorted.map((gain, index) => (wanted(gain) ? "M" + index + " 0V" + -gain : ""));
    return lines.join("");
  }

  function plot() {
    const sorted = Array.from(gains.values()).sort((a, b) => b - a);
    const won = sorted.filter((gain) => gain > 0).length;
    const lost = sorted.filter((gain) => gain < 0).length;
    const counts = won + " won, " + (sorted.length - won - lost) + " tied, " + lost + " lost";
    document.querySelector("[data-slot=counts]").textContent = counts;
    document.querySelector(".gains .won").setAttribute("d", bars(sorted, (gain) => gain > 0));
    document.querySelector(".gains .lost").setAttribute("d", bars(sorted, (gain) => gain < 0));
  }

  function arrange() {
    const signs = { gain: -1, loss: 1, number: 0 };
    const sign = signs[state.order];
    body.append(...rows.sort((a, b) => sign * (gains.get(a) - gains.get(b)) || number(a) - number(b)));
    const kept = { all: () => true, won: (gain) => gain > 0, tied: (gain) => gain === 0, lost: (gain) => gain < 0 };
    const words = state.words.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !kept[state.only](gains.get(row)) || !text(row).includes(words);
      shown += row.hidden ? 0 : 1;
    }
    status.textContent = shown + " of " + rows.length + " queries";
  }

  BOARD.field("order", "gain", BOARD.oneOf(options("order"), "gain"));
  BOARD.field("only", "all", BOARD.oneOf(options("only"), "all"));
  BOARD.field("words", "", (words) => words.slice(0, document.getElementById("words").maxLength));
  BOARD.onChange(function (now) {
    state = now;
    if (status.textContent !== "loading") {
      arrange();
    }
  });
  EXPLORER.onRun(function (list, data) {
    for (const row of rows) {
      const place = number(row) - 1;
      EXPLORER.showValues(row, list.values[place], data.values[place]);
      gains.set(row, data.values[place] - list.values[place]);
    }
    plot();
    arrange();
  });
})();
