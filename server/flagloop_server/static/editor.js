// Cards and YAML of one item: both edit the text in #text. A change in a card is a step that the
// server makes on the text; it answers with the new text, the cards and the problems.
import { startDrag } from "./drag.js";
import { startLines } from "./lines.js";
import { startUnsaved } from "./unsaved.js";

const QUIET = 350;
const LONGEST_UNDO = 100;
const STOPS = "input, select, textarea, button, summary, a[href]";

const desk = document.querySelector("[data-editor]");
const text = document.getElementById("text");
const cards = document.querySelector("[data-cards]");
const fieldset = document.getElementById("cards");
const says = document.querySelector("[data-says]");
const undo = document.querySelector("[data-undo]");
const form = document.getElementById("source");
const lines = startLines(text, document.getElementById("told"));
const before = [];
let asked = 0;
let waiting = 0;
let refused = false;
let pressed = null;
let settled = text?.value;
let line = Promise.resolve();

function say(message) {
  if (says) says.textContent = message;
}

async function ask(steps) {
  const body = {
    section: form.elements.section.value,
    key: form.elements.key.value,
    opened: Number(form.elements.opened.value),
    text: text.value,
    steps,
  };
  const headers = {
    "Content-Type": "application/json",
    "X-CSRF-Token": form.elements.csrf_token.value,
  };
  const answer = await fetch(desk.dataset.editor, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return answer.json();
}

// What was shown can be saved only while the text is that one, and no change is on its way to it.
function weigh() {
  const note = document.querySelector("[data-outdated]");
  if (!note) return;
  const old = waiting > 0 || text.value !== text.defaultValue;
  note.hidden = !old;
  document.querySelector("[data-proposal]").hidden = old;
}

function remember(was) {
  if (before.at(-1) === was) return;
  before.push(was);
  if (before.length > LONGEST_UNDO) before.shift();
  if (undo) undo.hidden = false;
}

// Where an element without an id stands: the how manyth of those in the nearest one with an id.
function placeOf(one) {
  const holder = one.closest("[id]");
  const index = [...holder.querySelectorAll(STOPS)].indexOf(one);
  return () => {
    const found = document.getElementById(holder.id)?.querySelectorAll(STOPS)[index];
    return found?.textContent === one.textContent ? found : null;
  };
}

// The caret stays where it is; where that place is gone, and after a button was pressed, it goes
// where the step left off. What was typed into a field that is not sent yet survives the new cards.
function draw(html, focus) {
  const active = cards.contains(document.activeElement) ? document.activeElement : null;
  const { id = "", value, selectionStart: at, defaultValue } = active ?? {};
  const stays = active && !id && (active !== pressed || active.matches(".choice"));
  const stay = stays ? placeOf(active) : () => null;
  const label = active?.getAttribute("aria-label");
  const open = new Map(
    [...cards.querySelectorAll("[data-keep]")].map((one) => [one.dataset.keep, one.open]),
  );
  cards.innerHTML = html;
  for (const one of cards.querySelectorAll("[data-keep]"))
    one.open = open.get(one.dataset.keep) ?? one.open;
  const again = id ? document.getElementById(id) : stay();
  if (again) {
    const writing = ![defaultValue, active.dataset.sent].includes(value);
    if (active.matches("input, textarea") && writing) {
      again.value = value;
      again.setSelectionRange?.(at, at);
    }
    again.focus({ preventScroll: true });
    return;
  }
  const twin =
    label && active.dataset.do !== "copy" && cards.querySelector(`[aria-label="${CSS.escape(label)}"]`);
  const place = focus && document.getElementById(focus);
  const fields = "input, select, textarea";
  const inner = place && (place.matches(fields) ? place : place.querySelector(fields) ?? place.querySelector("button"));
  const next = twin && !twin.disabled ? twin : inner;
  if (!next) return;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function take(answer, steps, sent) {
  const changed = answer.text !== text.value;
  if (steps.length && changed && text.value === sent) {
    remember(text.value);
    settled = text.value = answer.text;
  }
  lines.show(answer.problems);
  if (fieldset) {
    fieldset.disabled = !answer.readable;
    document.getElementById("visual-note").hidden = answer.readable;
    if (answer.readable) draw(answer.html, answer.refusal ? "" : answer.focus);
  }
  if (answer.reformatted) say("The text was laid out anew: its comments may have moved.");
  else if (answer.meanwhile)
    say("Somebody else changed this meanwhile: “Show what it would do” brings both together.");
  else if (steps.length && changed) say("Changed in the text; not saved yet.");
  else say("");
}

async function carry(steps) {
  const sent = text.value;
  let lost = "The text was changed at the same moment; do that again.";
  try {
    const answer = await ask(steps);
    if (text.value === sent) {
      take(answer, steps, sent);
      lost = answer.refusal;
    } else if (!steps.length) lost = "";
  } catch {
    lost = "The server does not answer; nothing was lost, try again.";
  }
  if (lost) say(lost);
  if (steps.length) refused = Boolean(lost);
}

function send(steps) {
  const mine = ++asked;
  waiting += steps.length;
  weigh();
  line = line.then(async () => {
    if (steps.length || mine === asked) await carry(steps);
    waiting -= steps.length;
    weigh();
  });
}

function stepOf(one, value) {
  const { do: what, path, kind = "", to = "0" } = one.dataset;
  const step = { do: what, path: JSON.parse(path), value, kind, to: Number(to) };
  return kind === "json" ? { ...step, value: JSON.parse(value), kind: "" } : step;
}

function rest(split) {
  let total = 0;
  for (const one of split.querySelectorAll("input")) {
    const weight = Number(one.value.replace("%", "").replace(",", ".").trim() || 0);
    if (Number.isNaN(weight)) return "a weight is no percentage";
    total += Math.round(weight * 1e6);
  }
  if (total === 1e8) return "sums to 100%";
  const over = Math.abs(total - 1e8) / 1e6;
  return total > 1e8 ? `${over}% too much` : `${over}% left`;
}

function startCards() {
  cards.addEventListener("change", (event) => {
    const one = event.target;
    one.dataset.sent = one.value;
    if (one.matches("[data-need]")) {
      const option = document.querySelector(`#flags option[value="${CSS.escape(one.value)}"]`);
      const variant = option?.dataset.variant ?? "on";
      if (one.value) send([{ do: "set", path: ["requires", one.value], value: variant }]);
    } else if (one.dataset.do) send([stepOf(one, one.value)]);
  });
  cards.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    pressed = button;
    send([stepOf(button, button.dataset.value ?? "")]);
  });
  cards.addEventListener("input", (event) => {
    const split = event.target.closest("[data-split]");
    if (!split) return;
    const told = split.querySelector("[data-rest]");
    told.textContent = rest(split);
    told.classList.toggle("short", told.textContent !== "sums to 100%");
  });
  startDrag(cards, (from, to) => send([{ do: "move", path: ["rules", from], to }]));
}

function startText() {
  let timer;
  text.addEventListener("input", () => {
    weigh();
    if (!timer) remember(settled);
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      settled = text.value;
      send([]);
    }, QUIET);
  });
  undo?.addEventListener("click", () => {
    clearTimeout(timer);
    timer = 0;
    if (before.length) settled = text.value = before.pop();
    undo.hidden = !before.length;
    lines.draw();
    send([]);
    if (undo.hidden) text.focus();
  });
  document.addEventListener("click", (event) => {
    const place = event.target.closest("[data-line]");
    if (place) lines.go(Number(place.dataset.line));
  });
}

// What was written into a card a moment ago goes along, though the text does not have it yet.
function startForm() {
  form.addEventListener("submit", (event) => {
    if (!waiting) return;
    event.preventDefault();
    line.then(() => {
      if (!refused) form.requestSubmit();
    });
  });
}

if (desk) {
  startText();
  startForm();
  startUnsaved(form, text);
  if (cards) startCards();
}
