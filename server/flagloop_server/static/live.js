// Replaces each [data-live] with the fragment at that address, every few seconds while the page
// is seen. A failed request leaves the last numbers and says so. What changed in [data-announce]
// is told to screen readers, once, and nothing else.

const EVERY = 4000;

let pressed = false;

function announcement(place) {
  return place.querySelector("[data-announce]")?.dataset.announce ?? "";
}

async function refresh(place) {
  const note = place.querySelector("[data-live-note]");
  try {
    const answer = await fetch(place.dataset.live, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const html = await answer.text();
    if (pressed || place.contains(document.activeElement)) return;
    const before = announcement(place);
    place.innerHTML = html;
    const after = announcement(place);
    if (before !== after) document.getElementById("announcer").textContent = after;
  } catch {
    if (note) note.textContent = " The server does not answer; these are the last numbers.";
  }
}

export function startLive() {
  // what is under a pressed finger or button must not go away before it is let go
  addEventListener("pointerdown", () => (pressed = true));
  addEventListener("pointerup", () => setTimeout(() => (pressed = false)));
  addEventListener("pointercancel", () => (pressed = false));
  for (const place of document.querySelectorAll("[data-live]")) {
    setInterval(() => {
      if (!document.hidden) refresh(place);
    }, EVERY);
  }
}
