// The candidates of each query on the page, before and after the chosen run: the elements of queries_macros.html.jinja.
(function () {
  "use strict";

  const TOP = 10;
  const make = EXPLORER.make;

  function picture(path, width, height, name, linked) {
    const image = make("img");
    image.setAttribute("src", EXPLORER.root + path);
    image.setAttribute("width", width);
    image.setAttribute("height", height);
    image.setAttribute("loading", "lazy");
    image.setAttribute("alt", "picture of " + name);
    if (!linked) {
      return image;
    }
    const link = make("a", "", image);
    link.setAttribute("href", EXPLORER.root + path);
    return link;
  }

  function move(rank, moved, word) {
    if (rank === moved) {
      return make("span", "move", "stays");
    }
    const up = word === "from" ? rank < moved : moved < rank;
    const beyond = moved > TOP ? (word === "from" ? ", new" : ", out") : "";
    return make("span", up ? "move up" : "move down", (up ? "\u2191 " : "\u2193 ") + word + " " + moved + beyond);
  }

  function entry(item, rank, moved, grade, score, linked) {
    const [id, text, ...size] = item;
    const one = make("li", grade ? "relevant" : "");
    if (size.length) {
      one.append(picture(...size, id, linked));
    }
    if (text) {
      one.append(make("p", "text", text));
    }
    const note = make("p", "note", make("b", "", rank));
    if (grade) {
      note.append(" ", make("span", "mark", "\u2713 relevant" + (grade > 1 ? ", grade " + grade : "")));
    }
    note.append(" ", move(rank, moved, "from"), " ", make("span", "score", "score " + score), " ", make("bdi", "id", id));
    one.append(note);
    return one;
  }

  function showQuery(article, list, data) {
    const row = Number(article.dataset.number) - 1;
    const grades = new Map(list.judged[row]);
    const linked = article.querySelector(".lists").classList.contains("sheets");
    EXPLORER.showValues(article, list.values[row], data.values[row]);
    Array.from(article.querySelector("ol.first").children).forEach(function (one, place) {
      one.querySelector(".move").replaceWith(move(place + 1, data.ranks[row][place], "to"));
    });
    const own = data.top[row].map((place, index) =>
      entry(
        list.documents[list.lists[row][place]],
        index + 1,
        place + 1,
        grades.get(place) || 0,
        data.scores[row][index],
        linked,
      ),
    );
    article.querySelector("ol.own").replaceChildren(...own);
  }

  EXPLORER.onRun(function (list, data) {
    document.querySelectorAll("article.query").forEach((article) => showQuery(article, list, data));
  });
})();
