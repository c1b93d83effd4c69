// Grading with the keyboard: digits choose, Enter saves. Every key does what a control on the page does too.

const form = document.getElementById("grade");
const keys = document.getElementById("keys");

const isText = (element) => element.matches("textarea, input:not([type=radio], [type=checkbox])");

function groups() {
  const found = new Map();
  for (const input of form.querySelectorAll("input[type=radio], input[type=checkbox]")) {
    if (!found.has(input.name)) found.set(input.name, []);
    found.get(input.name).push(input);
  }
  return [...found.values()];
}

// The group that has the focus, or else the first that has no answer yet.
function current() {
  const all = groups();
  return all.find((group) => group.includes(document.activeElement))
    ?? all.find((group) => !group.some((input) => input.checked))
    ?? all[0];
}

function choose(digit) {
  const group = current();
  const input = group?.[digit === 0 ? 9 : digit - 1];
  if (!input) return;
  input.checked = input.type === "checkbox" ? !input.checked : true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  const open = groups().find((other) => other !== group && !other.some((each) => each.checked));
  (input.type === "radio" && open ? open[0] : input).focus();
}

// Before the page's general keys, which would open a list of their own.
document.addEventListener("keydown", (event) => {
  if (!form || event.altKey || event.metaKey) return;
  const save = form.querySelector("[data-save]");
  if (event.key === "Enter" && (event.ctrlKey || !event.target.closest("textarea, select, button, a, summary"))) {
    event.preventDefault();
    form.requestSubmit(save);
    return;
  }
  if (event.ctrlKey || isText(event.target) || event.target.matches("select")) return;
  if (event.key === "?") {
    event.preventDefault();
    keys.open = !keys.open;
    if (keys.open) keys.querySelector("summary").focus();
  } else if (event.key === "c") {
    event.preventDefault();
    form.querySelector("[data-comment]").focus();
  } else if (/^[0-9]$/.test(event.key)) {
    event.preventDefault();
    choose(Number(event.key));
  }
}, { capture: true });

// A second press of Enter must not save twice.
form?.addEventListener("submit", (event) => {
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => { if (form) delete form.dataset.sent; });

const first = form?.querySelector("[aria-invalid=true]") ?? form?.querySelector("input[type=radio]");
if (form?.querySelector("[aria-invalid=true]")) (first.matches("fieldset") ? first.querySelector("input") : first)?.focus();
