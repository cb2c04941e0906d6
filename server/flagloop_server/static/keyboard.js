// `/` search, `j` `k` move, Enter open, `x` kill, `e` edit, `?` help.

let selected = -1;

function rows() {
  return [...document.querySelectorAll("[data-rows] [data-row]")];
}

function select(step) {
  const all = rows();
  if (!all.length) return;
  all[selected]?.removeAttribute("data-selected");
  selected = Math.min(all.length - 1, Math.max(0, selected + step));
  const row = all[selected];
  row.setAttribute("data-selected", "");
  row.querySelector("a")?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

/** The row that the keys mean: the selected one, or the only one. */
function meant() {
  const all = rows();
  return all[selected] ?? (all.length === 1 ? all[0] : undefined);
}

function inRow(selector) {
  return meant()?.querySelector(selector) ?? document.querySelector(`.head ${selector}`);
}

function kill() {
  const menu = document.querySelector("details[data-kill]");
  if (menu) {
    menu.open = true;
    return;
  }
  meant()?.querySelector("[data-kill-link]")?.click();
}

const ACTIONS = {
  "/": () => document.querySelector("[data-search]")?.focus(),
  j: () => select(1),
  k: () => select(-1),
  x: kill,
  e: () => inRow("[data-edit]")?.click(),
  "?": () => document.querySelector("dialog[data-help]")?.showModal(),
};

// In a box that is ticked nothing is typed.
const FIELDS = "input:not([type=checkbox]), textarea, select, dialog";

export function startKeyboard() {
  document.addEventListener("keydown", (event) => {
    const inField = event.target.closest?.(FIELDS);
    if (inField || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = ACTIONS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
