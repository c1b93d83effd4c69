// Keeps a page up to date from server-sent events. New rows never move what is being read: away from the top of
// the page they wait behind a button.

import { localTimes } from "./gateway.js";

const MOST_ROWS = 200;
const indicator = document.getElementById("live");

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  localTimes(template.content);
  return template.content.firstElementChild;
}

// --- rows of a list ---

function listUpdates() {
  const body = document.getElementById("rows");
  const list = document.getElementById("list");
  const button = document.getElementById("new-rows");
  const announce = document.getElementById("announce");
  const known = new Map([...body.rows].map((row) => [row.dataset.trace, row]));
  let waiting = new Map();

  const atTop = () => scrollY < 60 && !body.contains(document.activeElement) && getSelection().isCollapsed;

  function insert(rows) {
    for (const [id, row] of [...rows].reverse()) {
      known.get(id)?.remove();
      row.classList.add("new");
      body.prepend(row);
      known.set(id, row);
    }
    while (body.rows.length > MOST_ROWS) {
      known.delete(body.rows[body.rows.length - 1].dataset.trace);
      body.deleteRow(-1);
    }
    list.hidden = false;
    document.getElementById("empty")?.remove();
  }

  function showButton() {
    const count = waiting.size;
    button.hidden = count === 0;
    button.textContent = `${count} new ${count === 1 ? "trace" : "traces"}`;
  }

  button.addEventListener("click", () => {
    const count = waiting.size;
    insert(waiting);
    waiting = new Map();
    showButton();
    announce.textContent = `${count} new ${count === 1 ? "trace" : "traces"} shown`;
    scrollTo({ top: 0 });
  });

  return (parts) => {
    const fresh = new Map();
    for (const { id, html } of parts) {
      const row = parse(html);
      const old = known.get(id);
      if (old) {
        const focused = old.contains(document.activeElement);
        old.replaceChildren(...row.childNodes);
        if (focused) old.querySelector("a.cover")?.focus({ preventScroll: true });
      } else if (waiting.has(id)) {
        waiting.set(id, row);
      } else {
        fresh.set(id, row);
      }
    }
    if (fresh.size === 0) return;
    if (atTop() && waiting.size === 0) {
      insert(fresh);
      announce.textContent = `${fresh.size} new ${fresh.size === 1 ? "trace" : "traces"}`;
    } else {
      waiting = new Map([...fresh, ...waiting]);
      showButton();
      announce.textContent = button.textContent;
    }
  };
}

// --- parts of a page, by their ids ---

function partUpdates() {
  const waiting = new Map();

  function apply() {
    for (const [id, fresh] of [...waiting]) {
      const old = document.getElementById(id);
      // Somebody is reading on in it with the keyboard: it changes when they have left.
      if (old?.contains(document.activeElement)) continue;
      waiting.delete(id);
      if (!old || fresh.isEqualNode(old)) continue;
      const open = [...old.querySelectorAll("details")].map((details) => details.open);
      old.replaceWith(fresh);
      if (open.length === fresh.querySelectorAll("details").length) {
        fresh.querySelectorAll("details").forEach((details, at) => { details.open = open[at]; });
      }
    }
  }

  document.addEventListener("focusout", () => setTimeout(apply));
  return (parts) => {
    for (const { id, html } of parts) waiting.set(id, parse(html));
    apply();
  };
}

// --- the connection, open while the page is looked at ---

function connect(address, update) {
  let source = null;
  const words = indicator.querySelector("[data-words]");
  const dot = indicator.querySelector(".dot");

  function say(state) {
    indicator.hidden = false;
    words.textContent = state === "live" ? "Live" : "Reconnecting";
    dot.className = state === "live" ? "dot good" : "dot warn";
  }

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("open", () => say("live"));
    source.addEventListener("parts", (event) => update(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) indicator.hidden = true;
      else say("waiting");
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  // A browser has six connections to a server: pages in the background leave theirs to the others.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

if (indicator) {
  connect(indicator.dataset.live, document.getElementById("rows") ? listUpdates() : partUpdates());
}
