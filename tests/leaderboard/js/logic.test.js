// What the board's scripts compute (leaderboard/static/logic.js), run by node's own test runner: `make check-js`.
"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");
const vm = require("node:vm");

const SCRIPT = path.join(__dirname, "../../../leaderboard/static/logic.js");
const LOGIC = vm.runInThisContext(readFileSync(SCRIPT, "utf8") + "\nLOGIC");

const COLUMNS = ["rank", "types", "weights"];
const FACETS = ["weights", "training"];
const ROWS = [
  ["Beta", "beta bm25 apache-2.0", ["open", "clean"], [1, 0.9, "open"]],
  ["alpha", "alpha yes-no mit", ["open", "trained-on"], [2, 0.5, "open"]],
  ["gamma", "gamma random", ["", "unknown"], [null, null, null]],
  ["delta", "delta bm25 qwen qwen3-reranker-8b", ["closed", "related"], [2, 0.5, "not open"]],
].map(([key, search, facets, values]) => ({ key, search, facets, values, html: "" }));
const ALL = { filter: "", sort: "", order: "descending" };

function select(changes) {
  return LOGIC.selectRows(ROWS, COLUMNS, FACETS, { ...ALL, ...changes }).map((row) => row.key);
}

const FIELDS = new Map([
  ["measure", { start: "nDCG@10", clean: (text) => (text === "MRR@10" ? text : "nDCG@10") }],
  ["filter", { start: "", clean: (text) => text.slice(0, 5) }],
]);

test("without filters and order every row stays where it is", () => {
  assert.deepEqual(select({}), ["Beta", "alpha", "gamma", "delta"]);
});

test("the filter looks for a part of the name or reranker, regardless of case", () => {
  assert.deepEqual(select({ filter: " BM25 " }), ["Beta", "delta"]);
  assert.deepEqual(select({ filter: "nobody" }), []);
});

test("every word that was typed must be there, anywhere; slash and two underscores are blanks", () => {
  for (const filter of ["qwen 8b", "Qwen/Qwen3", "Qwen__Qwen3", "8B reranker", " qwen\tbm25"]) {
    assert.deepEqual(select({ filter }), ["delta"], filter);
  }
  assert.deepEqual(select({ filter: "MIT" }), ["alpha"]);
  assert.deepEqual(select({ filter: "qwen 4b" }), []);
  assert.equal(LOGIC.matches("Qwen__Qwen3", "qwen/qwen3"), true);
});

test("training data and weights are filtered as declared", () => {
  assert.deepEqual(select({ training: "untrained" }), ["Beta", "gamma", "delta"]);
  assert.deepEqual(select({ training: "clean" }), ["Beta"]);
  assert.deepEqual(select({ weights: "open" }), ["Beta", "alpha"]);
  assert.deepEqual(select({ weights: "open", training: "untrained" }), ["Beta"]);
});

test("blanks stay last in both directions, equal values in the first order", () => {
  assert.deepEqual(select({ sort: "types" }), ["Beta", "alpha", "delta", "gamma"]);
  assert.deepEqual(select({ sort: "types", order: "ascending" }), ["alpha", "delta", "Beta", "gamma"]);
  assert.deepEqual(select({ sort: "weights", order: "ascending" }), ["delta", "Beta", "alpha", "gamma"]);
});

test("names are sorted regardless of case, and a column that is not there changes nothing", () => {
  assert.deepEqual(select({ sort: "name", order: "ascending" }), ["alpha", "Beta", "delta", "gamma"]);
  assert.deepEqual(select({ sort: "nowhere" }), ["Beta", "alpha", "gamma", "delta"]);
});

test("selecting rows does not reorder the data", () => {
  select({ sort: "name", order: "ascending" });
  assert.equal(ROWS[0].key, "Beta");
});

test("columns show as the preset has them, unless the address says otherwise", () => {
  const columns = [
    { key: "rank", optional: true, isScore: false },
    { key: "name", optional: false, isScore: false },
    { key: "parameters", optional: false, isScore: false },
    { key: "types", optional: false, isScore: true },
    { key: "tasks", optional: true, isScore: true },
    { key: "t2t", optional: false, isScore: true },
    { key: "licence", optional: true, isScore: false },
  ];
  const shown = (preset, changes = "") =>
    columns.filter((one) => LOGIC.isShown(one, preset, changes)).map((one) => one.key);
  assert.deepEqual(shown(""), ["name", "parameters", "types", "t2t"]);
  assert.deepEqual(shown("scores"), ["name", "types", "t2t"]);
  assert.deepEqual(shown("facts"), ["name", "parameters", "types", "licence"]);
  assert.deepEqual(shown("all").length, columns.length);
  assert.deepEqual(shown("", "licence.-t2t.-other"), ["name", "parameters", "types", "licence"]);
  assert.deepEqual(shown("facts", "-licence.rank"), ["rank", "name", "parameters", "types"]);
});

test("CSV quotes what it must, and no text becomes a formula", () => {
  const rows = [
    ["model", "score (nDCG@10 x 100)"],
    ['a,"b"', 64.1],
    ["=1+1", "-3.20"],
    ["-x", null],
  ];
  assert.equal(LOGIC.formatCsv(rows), 'model,score (nDCG@10 x 100)\r\n"a,""b""",64.1\r\n\'=1+1,-3.20\r\n\'-x,\r\n');
});

test("a head asks for the best first, and for the other order the second time", () => {
  const state = { sort: "types", order: "descending" };
  assert.deepEqual(LOGIC.nextOrder("types", false, state), { sort: "types", order: "ascending" });
  assert.deepEqual(LOGIC.nextOrder("t2t", false, state), { sort: "t2t", order: "descending" });
  assert.deepEqual(LOGIC.nextOrder("name", true, state), { sort: "name", order: "ascending" });
  assert.deepEqual(LOGIC.nextOrder("rank", false, state), { sort: "rank", order: "ascending" });
});

test("pages are linked at both ends and around the current one, each once", () => {
  assert.deepEqual(LOGIC.pageNumbers(1, 1), [1]);
  assert.deepEqual(LOGIC.pageNumbers(1, 3), [1, 2, 3]);
  assert.deepEqual(LOGIC.pageNumbers(5, 9), [1, 4, 5, 6, 9]);
});

test("an address holds what differs from the start, and brings it back", () => {
  const state = { measure: "MRR@10", filter: "a&b" };
  assert.equal(LOGIC.writeState(state, FIELDS), "?measure=MRR%4010&filter=a%26b");
  assert.deepEqual(LOGIC.readState("?measure=MRR%4010&filter=a%26b", FIELDS), state);
  assert.equal(LOGIC.writeState(LOGIC.readState("", FIELDS), FIELDS), "");
});

test("an address that nobody made becomes a valid state", () => {
  const found = LOGIC.readState("?measure=x&filter=123456789&__proto__=1&other=2", FIELDS);
  assert.deepEqual(found, { measure: "nDCG@10", filter: "12345" });
});

test("picked are names, each once, and no more than fit", () => {
  assert.equal(LOGIC.cleanPicked("a__b,c-1,a__b,../x,<b>,,d", 3), "a__b,c-1,d");
  assert.equal(LOGIC.cleanPicked("a,b,c", 2), "a,b");
  assert.equal(LOGIC.cleanPicked("", 2), "");
});

test("two to ten known runs compare; anything else is the start", () => {
  const names = ["a", "b", "c", "d"];
  assert.equal(LOGIC.cleanRuns("c,a", names, "a,b"), "c,a");
  assert.equal(LOGIC.cleanRuns("a,a,b,x", names, "c,d"), "a,b");
  for (const text of ["", "a", "x,y", "a,a"]) {
    assert.equal(LOGIC.cleanRuns(text, names, "a,b"), "a,b");
  }
});

test("of a pair the run that stands higher is the other, whatever the order of choice", () => {
  const names = ["best", "good", "weak"];
  assert.deepEqual(LOGIC.findPairs(["weak", "best"], names), ["weak/best"]);
  assert.deepEqual(LOGIC.findPairs(["weak", "best", "good"], names), ["good/best", "weak/best", "weak/good"]);
});

test("two runs have their pair's page where a table compares them", () => {
  const tables = [
    { names: ["a", "b"], missing: [] },
    { names: ["c", "d", "e"], missing: ["e/d"] },
  ];
  assert.equal(LOGIC.findPairPage(["c", "e"], tables), "compare/e/c.html");
  assert.equal(LOGIC.findPairPage(["b", "a"], tables), "compare/b/a.html");
  for (const runs of [
    ["d", "e"],
    ["a", "c"],
    ["a", "x"],
  ]) {
    assert.equal(LOGIC.findPairPage(runs, tables), undefined);
  }
});

test("points have two decimals, gains a sign unless they are 0", () => {
  assert.equal(LOGIC.formatPoints(6309), "63.09");
  assert.deepEqual([250, -5, 0].map(LOGIC.formatGain), ["+2.50", "\u22120.05", "0.00"]);
  assert.deepEqual([1, -1, 0].map(LOGIC.signClass), ["gain", "loss", "same"]);
});
