// Replaces each [data-live] with the fragment at that address, every few seconds while the page
// is seen; soon again while it holds [data-live-soon]. A failed request leaves the last numbers and
// says so. What changed in [data-announce] is told to screen readers, once, and nothing else.

const EVERY = 4000;
const SOON = 250;

const SILENT = " The server does not answer; these are the last numbers.";
const SIGNED_OUT = " You are signed out; these are the last numbers. Reload the page to sign in.";
const GONE = " This is not there any more: reload the page.";

const asking = new WeakSet();
const soon = new WeakMap();
let pressed = false;

function announcement(place) {
  return place.querySelector("[data-announce]")?.dataset.announce ?? "";
}

async function refresh(place) {
  const note = place.querySelector("[data-live-note]");
  if (asking.has(place)) return;
  asking.add(place);
  try {
    const answer = await fetch(place.dataset.live, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) {
      if (note) note.textContent = answer.redirected ? SIGNED_OUT : answer.status === 404 ? GONE : SILENT;
      return;
    }
    const html = await answer.text();
    if (pressed || place.contains(document.activeElement)) return;
    const before = announcement(place);
    place.innerHTML = html;
    const after = announcement(place);
    if (before !== after) document.getElementById("announcer").textContent = after;
    hurry(place);
  } catch {
    if (note) note.textContent = SILENT;
  } finally {
    asking.delete(place);
  }
}

function hurry(place) {
  clearTimeout(soon.get(place));
  if (!document.hidden && place.querySelector("[data-live-soon]")) {
    soon.set(place, setTimeout(() => refresh(place), SOON));
  }
}

export function startLive() {
  // what is under a pressed finger or button must not go away before it is let go
  addEventListener("pointerdown", () => (pressed = true));
  addEventListener("pointerup", () => setTimeout(() => (pressed = false)));
  addEventListener("pointercancel", () => (pressed = false));
  for (const place of document.querySelectorAll("[data-live]")) {
    hurry(place);
    setInterval(() => {
      if (!document.hidden) refresh(place);
    }, EVERY);
  }
}
