// Replaces each [data-live] with the fragment at that address, every few seconds while the page
// is seen. A failed request leaves the last numbers and says so.

const EVERY = 4000;

async function refresh(place) {
  const note = place.querySelector("[data-live-note]");
  try {
    const answer = await fetch(place.dataset.live, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const html = await answer.text();
    const holdsFocus = place.contains(document.activeElement) && document.activeElement !== place;
    if (!holdsFocus && html !== place.lastHtml) {
      place.lastHtml = html;
      place.innerHTML = html;
    }
  } catch {
    if (note) note.textContent = " (the server does not answer; these are the last numbers)";
  }
}

export function startLive() {
  for (const place of document.querySelectorAll("[data-live]")) {
    setInterval(() => {
      if (!document.hidden) refresh(place);
    }, EVERY);
  }
}
