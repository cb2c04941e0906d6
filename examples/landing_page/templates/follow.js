// Keeps the open page's button in the colour that the flag gives this visitor now. The decision is
// made in the application's own memory, so asking five times a second costs next to nothing.
const button = document.querySelector("button[data-color]");
const said = document.querySelector("[data-said]");

async function look() {
  const answer = await fetch("color", { cache: "no-store" });
  const { color } = await answer.json();
  if (color === button.dataset.color) return;
  button.className = button.dataset.color = color;
  said.textContent = `The button turned ${color} at ${new Date().toISOString().slice(11, 23)} UTC.`;
}

setInterval(() => document.hidden || look().catch(() => {}), 200);
