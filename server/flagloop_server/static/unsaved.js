// Whoever leaves a page with changes that are not saved is asked first. Forms of the page take the
// changes along or do away with them, and so does what is marked with data-leave.

export function startUnsaved(form, text) {
  let leaving = false;

  const changed = () => {
    const active = document.activeElement;
    const writing = active?.matches("#cards input, #cards textarea");
    return (
      "unsaved" in form.dataset ||
      text.value !== text.defaultValue ||
      (writing && active.value !== active.defaultValue)
    );
  };

  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented && event.target.closest("main")) leaving = true;
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-leave]")) leaving = true;
  });
  window.addEventListener("pageshow", () => (leaving = false));
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && changed()) event.preventDefault();
  });
}
