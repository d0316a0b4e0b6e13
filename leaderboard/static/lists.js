// The candidates of each query on the page, before and after the chosen model: the elements of queries_macros.html.jinja.
(function () {
  "use strict";

  const TOP = 10;
  const make = DOM.make;

  /**
   * @param {string} path
   * @param {number} width
   * @param {number} height
   * @param {string} name
   */
  function makeImage(path, width, height, name) {
    const image = make("img", "");
    image.setAttribute("src", EXPLORER.root + path);
    image.setAttribute("width", String(width));
    image.setAttribute("height", String(height));
    image.setAttribute("loading", "lazy");
    image.setAttribute("alt", "image " + name);
    const link = make("a", "", image);
    link.setAttribute("href", EXPLORER.root + path);
    return link;
  }

  /**
   * @param {number} rank
   * @param {number} moved
   * @param {"from" | "to"} word
   */
  function makeMove(rank, moved, word) {
    if (rank === moved) {
      return make("span", "move", "stays");
    }
    const up = word === "from" ? rank < moved : moved < rank;
    const beyond = moved > TOP ? (word === "from" ? ", new" : ", out") : "";
    return make("span", up ? "move up" : "move down", (up ? "\u2191 " : "\u2193 ") + word + " " + moved + beyond);
  }

  /**
   * @param {ListedItem} item
   * @param {number} rank
   * @param {number} moved
   * @param {number} grade
   * @param {string} score
   */
  function makeEntry(item, rank, moved, grade, score) {
    const [id, text, ...images] = item;
    const one = make("li", grade ? "relevant" : "");
    for (let at = 0; at < images.length; at += 3) {
      const name = images.length > 3 ? at / 3 + 1 + " of " + id : "of " + id;
      one.append(makeImage(String(images[at]), Number(images[at + 1]), Number(images[at + 2]), name));
    }
    if (text) {
      one.append(make("p", "text", text));
    }
    const note = make("p", "note", make("b", "", String(rank)));
    if (grade) {
      note.append(" ", make("span", "mark", "\u2713 relevant" + (grade > 1 ? ", grade " + grade : "")));
    }
    note.append(" ", makeMove(rank, moved, "from"));
    if (score) {
      note.append(" ", make("span", "score", "score " + score));
    }
    if (id) {
      note.append(" ", make("bdi", "id", id));
    }
    one.append(note);
    return one;
  }

  /**
   * The best candidates of a query as a run ranks them.
   * @param {number} row
   * @param {ListData} list
   * @param {RunData} data
   */
  function makeEntries(row, list, data) {
    const grades = new Map(list.judged[row]);
    return data.top[row].map((place, index) =>
      makeEntry(
        list.documents[list.lists[row][place]],
        index + 1,
        place + 1,
        grades.get(place) || 0,
        data.scores[row][index],
      ),
    );
  }

  /**
   * @param {HTMLElement} article
   * @param {ListData} list
   * @param {RunData} data
   */
  function showQuery(article, list, data) {
    const row = Number(article.dataset.number) - 1;
    EXPLORER.showValues(article, list.values[row], data.values[row]);
    DOM.one("[data-slot=tied]", article).hidden = !data.tied[row];
    DOM.all("ol.first > li", article).forEach((entry, place) =>
      DOM.one(".move", entry).replaceWith(makeMove(place + 1, data.ranks[row][place], "to")),
    );
    DOM.one("ol.own", article).replaceChildren(...makeEntries(row, list, data));
  }

  EXPLORER.onRun(function (list, data) {
    for (const article of DOM.all("article.query")) {
      showQuery(article, list, data);
    }
  });
  EXPLORER.onBeside(function (name, list, data) {
    for (const place of DOM.all(".beside")) {
      place.hidden = !list || !data;
      if (list && data) {
        const article = /** @type {HTMLElement} */ (place.closest("article"));
        const row = Number(article.dataset.number) - 1;
        DOM.one("[data-slot=beside]", place).textContent = EXPLORER.label(name);
        EXPLORER.showValues(place, list.values[row], data.values[row]);
        DOM.one("ol", place).replaceChildren(...makeEntries(row, list, data));
      }
    }
  });
})();
