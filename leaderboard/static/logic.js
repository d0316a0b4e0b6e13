// What the scripts compute, without the page: filters, order, pages of rows, state in addresses, pairs of runs, numbers.
// tests/leaderboard/js/logic.test.js tests it.

/**
 * @typedef {Record<string, string>} State the value of each field of an address
 * @typedef {{ start: string, clean: (text: string) => string }} Field `clean` returns a valid value for any text
 * @typedef {"ascending" | "descending"} Order
 * @typedef {{ key: string | number | null, place: number }} Keyed a key of null is a blank; `place` is the first order
 * @typedef {string | number | null} Value
 * @typedef {{ key: string, search: string, facets: string[], values: Value[], html: string }} BoardRow a run's row:
 *   `values` by column, `facets` what it is filtered by
 */
const LOGIC = (function () {
  "use strict";

  /**
   * Sort by key, in place. Blanks stay last in both directions, and equal keys in their first order.
   * @template {Keyed} T
   * @param {T[]} keyed
   * @param {string} order
   * @returns {T[]}
   */
  function sortKeyed(keyed, order) {
    const sign = order === "ascending" ? 1 : -1;
    return keyed.sort(function (a, b) {
      if (a.key === null || b.key === null || a.key === b.key) {
        return Number(a.key === null) - Number(b.key === null) || a.place - b.place;
      }
      return a.key < b.key ? -sign : sign;
    });
  }

  /**
   * The order that pressing a head asks for: the other one if it is sorted by already.
   * @param {string} column
   * @param {boolean} isText
   * @param {State} state
   * @returns {State}
   */
  function nextOrder(column, isText, state) {
    const first = isText || column === "rank" ? "ascending" : "descending";
    const other = state.order === "ascending" ? "descending" : "ascending";
    return { sort: column, order: state.sort === column ? other : first };
  }

  /**
   * A text as it is searched (finding.py): lower case; what separates an organisation from a name is a blank.
   * @param {string} text
   */
  function foldWords(text) {
    return text.toLowerCase().replaceAll("/", " ").replaceAll("__", " ");
  }

  /**
   * Whether a text contains every word that was typed, anywhere, regardless of case.
   * @param {string} text
   * @param {string} typed
   */
  function matches(text, typed) {
    const folded = foldWords(text);
    return foldWords(typed)
      .split(/\s+/)
      .every((word) => folded.includes(word));
  }

  /**
   * Whether a row's facet is what was asked for: "untrained" is any but trained-on.
   * @param {string} value
   * @param {string} asked
   */
  function fits(value, asked) {
    return !asked || (asked === "untrained" ? value !== "trained-on" : value === asked);
  }

  /**
   * Rows that the filters leave, in the chosen order. `columns` names the values of each row, `facets` its facets.
   * @param {BoardRow[]} rows
   * @param {string[]} columns
   * @param {string[]} facets
   * @param {State} state
   */
  function selectRows(rows, columns, facets, state) {
    const asked = facets.map((name) => state[name] || "");
    const kept = rows.filter(
      (row) => asked.every((value, at) => fits(row.facets[at], value)) && matches(row.search, state.filter),
    );
    const at = columns.indexOf(state.sort);
    if (at < 0 && state.sort !== "name") {
      return kept;
    }
    const lower = (/** @type {Value} */ value) => (typeof value === "string" ? value.toLowerCase() : value);
    const keyed = kept.map((row, place) => ({ row, place, key: lower(at < 0 ? row.key : row.values[at]) }));
    return sortKeyed(keyed, state.order).map((one) => one.row);
  }

  /**
   * Whether a column shows: as `changes` say ("licence.-cross"), else as the preset does: every column ("all"), the
   * scores alone ("scores"), the facts with rank and the average over types ("facts"), or the page's own ("").
   * @param {{ key: string, optional: boolean, isScore: boolean }} column
   * @param {string} preset
   * @param {string} changes
   */
  function isShown({ key, optional, isScore }, preset, changes) {
    const said = changes.split(".");
    if (key === "name" || said.includes(key) || said.includes("-" + key)) {
      return !said.includes("-" + key);
    }
    if (preset === "all" || (preset === "facts" && key !== "rank")) {
      return preset === "all" || !isScore || key === "types";
    }
    return !optional && (preset !== "scores" || isScore || key === "rank");
  }

  /**
   * Rows of texts and numbers as CSV. A text that a spreadsheet would read as a formula has a quote before it.
   * @param {Value[][]} rows
   */
  function formatCsv(rows) {
    const field = (/** @type {Value} */ value) => {
      const isFormula = typeof value === "string" && /^[=+@\t\r-]/.test(value) && Number.isNaN(Number(value));
      const text = (isFormula ? "'" : "") + (value ?? "");
      return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    };
    return rows.map((row) => row.map(field).join(",") + "\r\n").join("");
  }

  /**
   * The numbers of the pages that are linked from page `page` of `last`: the first, its neighbours, the last.
   * @param {number} page
   * @param {number} last
   */
  function pageNumbers(page, last) {
    const wanted = new Set([1, page - 1, page, page + 1, last]);
    return Array.from(wanted).filter((one) => one >= 1 && one <= last);
  }

  /**
   * The state that an address's query holds; a field that it lacks has its start value.
   * @param {string} query
   * @param {Map<string, Field>} fields
   * @returns {State}
   */
  function readState(query, fields) {
    const found = new URLSearchParams(query);
    const read = (/** @type {string} */ name, /** @type {Field} */ one) => {
      const text = found.get(name);
      return text === null ? one.start : one.clean(text);
    };
    return Object.fromEntries(Array.from(fields, ([name, one]) => [name, read(name, one)]));
  }

  /**
   * The query of an address with this state, with its question mark; empty if every field has its start value.
   * @param {State} state
   * @param {Map<string, Field>} fields
   */
  function writeState(state, fields) {
    const changed = Array.from(fields).filter(([name, one]) => state[name] !== one.start);
    const query = new URLSearchParams(changed.map(([name]) => [name, state[name]])).toString();
    return query && "?" + query;
  }

  /**
   * Names of runs with commas between, each once, `most` of them; what cannot be one is left out.
   * @param {string} text
   * @param {number} most
   */
  function cleanPicked(text, most) {
    const names = text.split(",").filter((name) => /^[A-Za-z0-9][\w.-]{0,120}$/.test(name));
    return Array.from(new Set(names)).slice(0, most).join(",");
  }

  /**
   * Runs with commas between, if they are two to ten of the known ones, else `start`.
   * @param {string} text
   * @param {string[]} names
   * @param {string} start
   */
  function cleanRuns(text, names, start) {
    const runs = Array.from(new Set(text.split(","))).filter((name) => names.includes(name));
    return runs.length >= 2 && runs.length <= 10 ? runs.join(",") : start;
  }

  /**
   * The keys of the pairs of `runs`, each as "base/other": the other is the one that comes first in `names`.
   * @param {string[]} runs
   * @param {string[]} names
   */
  function findPairs(runs, names) {
    const sorted = runs.slice().sort((a, b) => names.indexOf(a) - names.indexOf(b));
    return sorted.flatMap((other, index) => sorted.slice(index + 1).map((base) => base + "/" + other));
  }

  /**
   * The page of two runs, as a path of the site, or undefined if there is none: `tables` as compare.py lists them.
   * @param {string[]} runs
   * @param {{ names: string[], missing: string[] }[]} tables
   */
  function findPairPage(runs, tables) {
    const table = tables.find(({ names }) => runs.every((name) => names.includes(name)));
    const [pair] = table ? findPairs(runs, table.names) : [];
    return pair && !table?.missing.includes(pair) ? "compare/" + pair + ".html" : undefined;
  }

  /**
   * Hundredths of a point as text: 6309 is 63.09.
   * @param {number} value
   */
  function formatPoints(value) {
    return (value / 100).toFixed(2);
  }

  /**
   * Hundredths of a point with a sign; 0 has none.
   * @param {number} value
   */
  function formatGain(value) {
    return (value > 0 ? "+" : value < 0 ? "\u2212" : "") + formatPoints(Math.abs(value));
  }

  /**
   * The class of a difference.
   * @param {number} value
   */
  function signClass(value) {
    return value > 0 ? "gain" : value < 0 ? "loss" : "same";
  }

  return {
    sortKeyed,
    nextOrder,
    foldWords,
    matches,
    selectRows,
    isShown,
    formatCsv,
    pageNumbers,
    readState,
    writeState,
    cleanPicked,
    cleanRuns,
    findPairs,
    findPairPage,
    formatPoints,
    formatGain,
    signClass,
  };
})();
