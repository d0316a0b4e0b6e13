// Data that is loaded when somebody asks for it: scripts under data/, each of which calls DATA.put(key, value) with the
// key that is its path.
//
//   DATA.get("queries/mini-faq-t2t/bm25").then((value) => ..., () => ...)    loaded once, then kept
const DATA = (function () {
  "use strict";

  const folder = new URL("../data/", /** @type {HTMLScriptElement} */ (document.currentScript).src);
  /** @type {Map<string, any>} */
  const values = new Map();
  /** @type {Map<string, Promise<any>>} */
  const asked = new Map();

  /** @param {string} key */
  function load(key) {
    return new Promise(function (done, failed) {
      const script = document.createElement("script");
      script.src = new URL(key + ".js", folder).href;
      script.addEventListener("load", () => (values.has(key) ? done(values.get(key)) : failed()));
      script.addEventListener("error", failed);
      document.head.append(script);
    });
  }

  /**
   * @param {string} key
   * @returns {Promise<any>}
   */
  function get(key) {
    const found = asked.get(key) || load(key);
    asked.set(key, found);
    return found;
  }

  return { put: (/** @type {string} */ key, /** @type {any} */ value) => values.set(key, value), get };
})();
