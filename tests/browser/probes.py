"""What a script in the page finds wrong with it."""

from __future__ import annotations

OVERFLOW = """
for (const menu of document.querySelectorAll("details")) menu.open = true;
const wide = [];
const limit = document.documentElement.clientWidth;
for (const one of document.querySelectorAll("body *")) {
  const box = one.getBoundingClientRect();
  const clipped = one.closest("pre, textarea, .skip, .cards thead, .layer > *");
  if (clipped || !one.checkVisibility()) continue;
  if ((box.right > limit + 1 || box.left < -1) && box.width > 1)
    wide.push(one.tagName + "." + one.className + " " + Math.round(box.right));
}
return [document.documentElement.scrollWidth - limit, wide.slice(0, 5)];
"""

CUT = """
const pen = document.createElement("canvas").getContext("2d");
const cut = [];
for (const one of document.querySelectorAll("select, input[placeholder]")) {
  if (!one.checkVisibility()) continue;
  const style = getComputedStyle(one);
  pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const text = one.tagName === "SELECT" ? one.selectedOptions[0]?.text ?? "" : one.placeholder;
  const arrow = one.tagName === "SELECT" ? 18 : 0;
  const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  if (pen.measureText(text).width > room - arrow + 1) cut.push(text);
}
return cut;
"""
"""Choices and examples in fields that do not fit into them."""

CONTRAST = """
const rgb = (text) => {
  const m = text.match(/[\\d.]+/g).map(Number);
  return text.startsWith("color(srgb") ? [m[0] * 255, m[1] * 255, m[2] * 255, m[3] ?? 1]
                                        : [m[0], m[1], m[2], m[3] ?? 1];
};
const light = ([r, g, b]) => {
  const f = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
};
const behind = (one) => {
  for (let place = one; place; place = place.parentElement) {
    const colour = rgb(getComputedStyle(place).backgroundColor);
    if (colour[3] === 1) return colour;
  }
  return [255, 255, 255, 1];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
  const one = text.parentElement;
  if (!text.data.trim() || !one.checkVisibility({ visibilityProperty: true })) continue;
  const front = light(rgb(getComputedStyle(one).color)), back = light(behind(one));
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + text.data.trim().slice(0, 40));
}
return [found, getComputedStyle(document.body).backgroundColor];
"""

NAMED = """
const nameless = [];
const fields = "input:not([type=hidden]), select, textarea:not([hidden])";
for (const one of document.querySelectorAll(fields))
  if (!one.labels?.length && !one.ariaLabel) nameless.push(one.outerHTML.slice(0, 80));
for (const one of document.querySelectorAll("button, a, summary"))
  if (!one.hidden && !one.textContent.trim() && !one.ariaLabel)
    nameless.push(one.outerHTML.slice(0, 80));
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
const twice = ids.filter((id, place) => ids.indexOf(id) !== place);
return [nameless, twice, document.querySelectorAll("h1").length, document.documentElement.lang];
"""

HEAD = """
const wrong = [];
const main = document.querySelector("main");
const head = main.querySelector("h1");
if (!head || !head.textContent.trim()) wrong.push("no heading");
const first = [...main.querySelectorAll("p")].find((one) => one.checkVisibility()
  && !one.closest("nav") && head && (head.compareDocumentPosition(one) & 4));
if (!first || !/[.:?!]/.test(first.textContent)) wrong.push("no sentence below the heading");
const primary = [...main.querySelectorAll(".primary, .danger.solid")].filter((one) =>
  one.checkVisibility({ visibilityProperty: true }));
if (primary.length > 1)
  wrong.push("primary actions: " + primary.map((one) => one.textContent.trim()).join(" | "));
for (const one of main.querySelectorAll("*")) {
  const style = getComputedStyle(one);
  const cut = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
  if (cut && (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 1)
      && !one.closest("[title]"))
    wrong.push("cut without a title: " + one.textContent.trim().slice(0, 40));
}
return wrong;
"""

SHIFTS = """
const done = arguments[arguments.length - 1];
const found = [];
const ages = ({ node }) => (node?.nodeType === 1 ? node : node?.parentElement)
  ?.closest("tr, p, li, dd")?.matches(":has(time[data-ago]), .obeyed");
const watch = new PerformanceObserver((list) => found.push(...list.getEntries()));
watch.observe({ type: "layout-shift", buffered: true });
requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => {
  found.push(...watch.takeRecords());
  done(found.filter((one) => !one.hadRecentInput
    && !one.sources.every(ages)).map((one) => one.value.toFixed(4) + " "
    + one.sources.map((each) => (each.node?.outerHTML ?? each.node?.data ?? "").slice(0, 70))));
})));
"""
"""Everything that moved since the page began to load, but for ages, which are told anew."""
