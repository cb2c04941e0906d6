// Rows with [data-pick]: how many are chosen, and all of those that are shown at once.

const boxes = [...document.querySelectorAll("[data-pick]")];
const all = document.querySelector("[data-pick-all]");
const told = document.querySelector("[data-picked]");

function tell() {
  const chosen = boxes.filter((one) => one.checked).length;
  const box = all.querySelector("input");
  box.checked = chosen === boxes.length;
  box.indeterminate = chosen > 0 && chosen < boxes.length;
  told.closest("form").toggleAttribute("data-some", chosen > 0);
  told.textContent = chosen === 1 ? "1 flag is chosen." : `${chosen} flags are chosen.`;
}

if (boxes.length && all && told) {
  all.hidden = false;
  all.addEventListener("change", (event) => {
    for (const one of boxes) one.checked = event.target.checked;
    tell();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick]")) tell();
  });
  if (boxes.some((one) => one.checked)) tell(); // kept by the browser over a reload
}
