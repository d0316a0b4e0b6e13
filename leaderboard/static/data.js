// Data that is loaded when somebody asks for it: scripts under data/, each of which calls DATA.put(key, value) with the
// key that is its path.
//
//   DATA.get("queries/mini-faq-t2t/bm25").then((value) => ..., () => ...)    loaded once, then kept
const DATA = (function () {
  "use strict";

  const folder = new URL("../data/", document.currentScript.src);
  const values = new Map();
  const asked = new Map();

  function load(key) {
    return new Promise(function (done, failed) {
      const script = document.createElement("script");
      script.src = new URL(key + ".js", folder);
      script.addEventListener("load", () => (values.has(key) ? done(values.get(key)) : failed()));
      script.addEventListener("error", failed);
      document.head.append(script);
    });
  }

  function get(key) {
    if (!asked.has(key)) {
      asked.set(key, load(key));
    }
    return asked.get(key);
  }

  return { put: (key, value) => values.set(key, value), get: get };
})();
