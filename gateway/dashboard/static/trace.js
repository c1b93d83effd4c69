// A trace's page: the name of whoever gives feedback stays with this browser.

for (const field of document.querySelectorAll("[data-remember]")) {
  const name = field.dataset.remember;
  try {
    if (!field.value) field.value = localStorage.getItem(name) ?? "";
    field.form.addEventListener("submit", () => localStorage.setItem(name, field.value));
  } catch {
    // A browser that keeps nothing asks again.
  }
}
