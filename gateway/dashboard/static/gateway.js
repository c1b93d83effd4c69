// What every page has: copy buttons, times in the reader's own zone, keyboard shortcuts. Nothing needs it.

const isTyping = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

export function localTimes(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const pad = (number) => String(number).padStart(2, "0");
    const clock = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(pad).join(":");
    const day = [moment.getFullYear(), pad(moment.getMonth() + 1), pad(moment.getDate())].join("-");
    time.textContent = moment.toDateString() === now.toDateString() ? clock : `${day} ${clock}`;
  }
}

// What is on the page may be cut, and marks what is hidden: where the whole is to be had, that is copied.
async function contentOf(button, source) {
  if (!button.dataset.copyUrl) return source.textContent;
  const answer = await fetch(button.dataset.copyUrl);
  return answer.ok ? answer.text() : source.textContent;
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(await contentOf(button, source));
    button.textContent = "Copied";
  } catch {
    // Without a secure context there is no clipboard: select it, so that Ctrl+C does the rest.
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = words; }, 1600);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

// One letter goes somewhere, as /ui/keys lists them. A page has its own letters in data-key on its controls.
const PLACES = { l: "/ui/logs", i: "/ui/inbox", n: "/ui/insights", s: "/ui/status", "?": "/ui/keys" };
let leader = false;

function rows() {
  return [...document.querySelectorAll(".list a.cover")];
}

function step(by) {
  const links = rows();
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  const next = at === -1 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && isTyping(event.target)) { event.target.blur(); return; }
  if (isTyping(event.target)) return;
  if (leader) {
    leader = false;
    const place = PLACES[event.key];
    if (place) { event.preventDefault(); location.assign(place); }
    return;
  }
  if (event.key === "g") { leader = true; setTimeout(() => { leader = false; }, 1500); return; }
  if (event.key === "?") { location.assign("/ui/keys"); return; }
  if (event.key === "/") {
    const field = document.querySelector("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
    return;
  }
  if (event.key === "j" || event.key === "k") { event.preventDefault(); step(event.key === "j" ? 1 : -1); return; }
  const control = [...document.querySelectorAll("[data-key]")].find((each) => each.dataset.key === event.key);
  if (control && !control.disabled) { event.preventDefault(); control.focus(); control.click(); }
});

localTimes(document);
