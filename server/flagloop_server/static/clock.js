// Keeps "12 s ago" true: every <time data-ago> is told again each second, by the server's clock.

const STEPS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [172800, 3600, "h"],
  [Infinity, 86400, "d"],
];

export function ago(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [, size, unit] = STEPS.find(([limit]) => seconds < limit);
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

// How far this browser's clock is ahead of the server's, in milliseconds.
const ahead = Date.now() - Number(document.documentElement.dataset.now);

function tell() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago(Date.now() - ahead - Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

export function startClock() {
  setInterval(tell, 1000);
}
