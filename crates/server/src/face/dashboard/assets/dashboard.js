// Keeps the page as things are: the server sends it again when something has changed, and what
// looks different is put in the place of the old. Forms that somebody fills in are left alone.
"use strict";

(() => {
  const page = document.getElementById("page");
  const state = document.getElementById("live");
  const words = { waiting: "Connecting", live: "Live", away: "Reconnecting", stale: "Not current" };
  // Time between two tries where the browser itself has given up, in milliseconds.
  const [shortest, longest] = [500, 10000];

  let source = null;
  let again = null;
  let pause = shortest;

  const tell = (now) => {
    if (!state || state.dataset.state === now) return;
    state.dataset.state = now;
    state.querySelector(".word").textContent = words[now];
  };

  // How long ago a moment was, in a word.
  const ago = (then) => {
    const seconds = Math.round((Date.now() - then) / 1000);
    const span = Math.abs(seconds);
    if (span < 2) return "now";
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const [size, name] = units.find(([size]) => span >= size);
    const text = `${Math.floor(span / size)} ${name}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  };

  const ages = () => {
    for (const it of document.querySelectorAll("time[datetime]")) {
      const text = ago(Date.parse(it.dateTime));
      if (it.textContent !== text) it.textContent = text;
    }
  };

  const touched = (form) =>
    form.contains(document.activeElement) ||
    [...form.elements].some((it) =>
      it.tagName === "SELECT"
        ? [...it.options].some((option) => option.selected !== option.defaultSelected && option.value !== "" && option.index > 0)
        : it.type !== "hidden" && "defaultValue" in it && it.value !== it.defaultValue,
    );

  const put = (html) => {
    Idiomorph.morph(page, html, {
      morphStyle: "innerHTML",
      ignoreActiveValue: true,
      restoreFocus: true,
      callbacks: {
        // What somebody has opened stays open.
        beforeAttributeUpdated: (name) => name !== "open",
        beforeNodeMorphed: (from) =>
          !(from instanceof HTMLFormElement && from.dataset.keep && touched(from)),
      },
    });
    ages();
  };

  const close = () => {
    if (source) source.close();
    source = null;
    clearTimeout(again);
  };

  const open = () => {
    close();
    const here = location.pathname + location.search;
    source = new EventSource("/live?page=" + encodeURIComponent(here));
    source.addEventListener("version", (event) => {
      // Another version of Sinew was started meanwhile.
      if (event.data !== document.body.dataset.version) location.reload();
      pause = shortest;
    });
    source.addEventListener("page", (event) => {
      put(JSON.parse(event.data));
      tell("live");
    });
    source.addEventListener("away", () => tell("stale"));
    source.addEventListener("gone", () => { close(); tell("stale"); });
    source.onerror = () => {
      tell("away");
      // The browser tries again by itself unless it was refused.
      if (!source || source.readyState !== EventSource.CLOSED) return;
      again = setTimeout(check, pause);
      pause = Math.min(longest, pause * 2);
    };
  };

  // Whether the server is back, and still lets us in.
  const check = async () => {
    try {
      const answer = await fetch(location.href, { method: "HEAD", redirect: "error" });
      if (answer.status === 401 || answer.status === 404) { location.reload(); return; }
    } catch { /* It is not back yet. */ }
    open();
  };

  ages();
  setInterval(ages, 1000);
  if (page && state && document.querySelector("[data-live]")) {
    open();
    // A browser keeps few connections to one server: a page that nobody sees needs none.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  }
})();
