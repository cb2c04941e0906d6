// A form with data-preview shows what it would do while one still types: its fields are sent by
// GET to that address, the fragment that comes back replaces the target.

const QUIET = 300;
const FAILED = "This cannot be shown now. Press the button to try again.";

async function fragment(address) {
  const answer = await fetch(address);
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return answer.text();
}

export function startPreview() {
  for (const form of document.querySelectorAll("form[data-preview]")) {
    const target = document.getElementById(form.dataset.previewTarget);
    let timer;
    let latest = 0;
    const show = async () => {
      const mine = ++latest;
      const query = new URLSearchParams(new FormData(form));
      query.delete("csrf_token");
      query.set("fragment", "1");
      const html = await fragment(`${form.dataset.preview}?${query}`).catch(() => null);
      if (mine !== latest) return;
      if (html === null) target.textContent = FAILED;
      else target.innerHTML = html;
    };
    form.addEventListener("input", (event) => {
      if (!event.target.matches("[data-preview-field]")) return;
      clearTimeout(timer);
      timer = setTimeout(show, QUIET);
    });
  }
}
