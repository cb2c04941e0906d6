// Buttons with data-copy put that text on the clipboard; without JavaScript they are not shown.

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // a page that did not come by HTTPS has no such clipboard, but a chosen text can be copied
  const active = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  Object.assign(area.style, { position: "fixed", top: "0" }); // nothing scrolls there
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  active?.focus();
  if (!done) throw new Error("refused");
}

export function startCopy() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const told = await copy(button.dataset.copy).then(() => "Copied", () => "Not copied");
      button.textContent = told;
      setTimeout(() => (button.textContent = label), 1500);
    });
  }
}
