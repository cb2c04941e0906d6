// The form of the playground: rows for more attributes, and a short address: what is empty is
// not sent.

const form = document.querySelector("[data-try]");
const rows = form.querySelector("[data-attributes]");
const add = form.querySelector("[data-add]");

function label(row, place) {
  const [name, value] = row.querySelectorAll("input");
  name.setAttribute("aria-label", `Attribute ${place}`);
  value.setAttribute("aria-label", `Value of attribute ${place}`);
  return name;
}

function addRow() {
  const row = rows.lastElementChild.cloneNode(true);
  for (const field of row.querySelectorAll("input")) {
    field.value = "";
    field.disabled = false;
  }
  rows.append(row);
  label(row, rows.children.length).focus();
}

if (rows && add) {
  add.hidden = false;
  add.addEventListener("click", addRow);
}

function isEmpty(field) {
  const row = field.closest(".attribute");
  const together = row ? [...row.querySelectorAll("input")] : [field];
  return together.some((one) => !one.value.trim());
}

form.addEventListener("submit", () => {
  const fields = [...form.elements].filter((one) => one.name && one.name !== "key");
  const empty = fields.filter((one) => one.type !== "submit" && isEmpty(one));
  for (const one of empty) one.disabled = true;
});

// Back from the decisions the browser shows the page as it was left.
addEventListener("pageshow", () => {
  for (const one of form.elements) one.disabled = false;
});
