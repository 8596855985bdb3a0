// Fetches the content anew every two seconds. The page is whole without it.
"use strict";

const EVERY_MS = 2000;
const content = document.getElementById("content");

// What a person is doing right now must not be pulled from under them.
function busy() {
  return document.hidden || content.querySelector("svg:hover") !== null || !getSelection().isCollapsed;
}

function openKeys() {
  return new Set([...content.querySelectorAll("details[open]")].map((details) => details.dataset.key));
}

function replace(html) {
  const open = openKeys();
  const focused = content.contains(document.activeElement) ? document.activeElement : null;
  const id = focused && focused.id;
  const key = focused && focused.closest("details") && focused.closest("details").dataset.key;
  const left = [...content.querySelectorAll(".scrolls")].map((box) => box.scrollLeft);
  content.innerHTML = html;
  for (const details of content.querySelectorAll("details")) {
    details.open = open.has(details.dataset.key);
    if (key && details.dataset.key === key) details.querySelector("summary").focus({ preventScroll: true });
  }
  content.querySelectorAll(".scrolls").forEach((box, i) => { box.scrollLeft = left[i] || 0; });
  if (id && document.getElementById(id)) document.getElementById(id).focus({ preventScroll: true });
}

async function refresh() {
  if (!busy()) {
    try {
      const answer = await fetch("fragment" + location.search);
      if (!answer.ok) throw new Error(answer.statusText);
      const html = await answer.text();
      if (!busy()) replace(html);
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    }
  }
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);
