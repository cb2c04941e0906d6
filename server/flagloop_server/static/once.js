// A form that changes something is sent once: a second press while the answer is on its way does
// nothing. After some seconds without an answer it may be sent again.

const PATIENCE = 5000;

const sent = new WeakMap();

export function startOnce() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (event.timeStamp - (sent.get(form) ?? -Infinity) < PATIENCE) event.preventDefault();
    else sent.set(form, event.timeStamp);
  });
  addEventListener("pageshow", () => {
    for (const form of document.forms) sent.delete(form);
  });
}
