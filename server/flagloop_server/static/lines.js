// Line numbers beside a textarea, with a mark where a problem is, and the list of problems.

function button(line) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.dataset.line = line;
  made.textContent = `line ${line}`;
  return made;
}

export function startLines(text, told) {
  const gutter = document.querySelector("[data-gutter]");
  let marked = new Map();

  function draw() {
    const count = text.value.split("\n").length;
    gutter.replaceChildren(
      ...Array.from({ length: count }, (_, place) => {
        const one = document.createElement("span");
        const severity = marked.get(place + 1);
        if (severity) one.className = severity;
        one.textContent = severity ? `▸${place + 1}` : place + 1;
        return one;
      }),
    );
    gutter.scrollTop = text.scrollTop;
  }

  function show(problems) {
    marked = new Map();
    for (const one of problems)
      if (one.line && marked.get(one.line) !== "error") marked.set(one.line, one.severity);
    told.replaceChildren(
      ...problems.map((one) => {
        const row = document.createElement("p");
        row.className = `trouble ${one.severity}`;
        if (one.line) row.append(button(one.line), " ");
        row.append(one.text);
        return row;
      }),
    );
    draw();
  }

  function go(line) {
    const all = text.value.split("\n");
    const start = all.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (all[line - 1] ?? "").length);
    text.scrollTop = Math.max(0, (line - 4) * (text.scrollHeight / all.length));
  }

  text.addEventListener("scroll", () => (gutter.scrollTop = text.scrollTop));
  text.addEventListener("input", draw);
  for (const one of told.querySelectorAll("[data-at]"))
    marked.set(Number(one.dataset.at), one.classList.contains("warning") ? "warning" : "error");
  draw();
  return { show, go, draw };
}
