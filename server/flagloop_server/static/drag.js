// Rules can be dragged by their grip to another place; the buttons beside it do the same.

export function startDrag(cards, moved) {
  let from = null;

  const rule = (event) => event.target.closest?.("[data-place]");
  const clear = () => {
    for (const one of cards.querySelectorAll("[data-over]")) one.removeAttribute("data-over");
  };

  cards.addEventListener("dragstart", (event) => {
    if (!event.target.matches?.(".grip")) return;
    from = rule(event);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", from.dataset.place);
    event.dataTransfer.setDragImage(from, 16, 16);
  });
  cards.addEventListener("dragover", (event) => {
    const over = rule(event);
    if (from === null || !over) return;
    event.preventDefault();
    clear();
    if (over !== from) {
      const down = Number(from.dataset.place) < Number(over.dataset.place);
      over.setAttribute("data-over", down ? "below" : "above");
    }
  });
  cards.addEventListener("drop", (event) => {
    const over = rule(event);
    if (from === null || !over) return;
    event.preventDefault();
    const [old, place] = [Number(from.dataset.place), Number(over.dataset.place)];
    if (old !== place) moved(old, place);
  });
  cards.addEventListener("dragend", () => {
    from = null;
    clear();
  });
}
