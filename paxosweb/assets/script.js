// Keeps the page up to date, and steps through a diagram. Without it both show everything as it is.
"use strict";

// live replaces the parts of the page that have changed. A part stays while somebody points at it or has the focus in it.
function live(address) {
  const link = document.getElementById("link"), hold = document.getElementById("hold");
  const waiting = new Map();
  let source = null, held = false;

  const isUsed = part => part.id !== "headline" && (part.contains(document.activeElement) || part.matches(":hover"));
  function show(part, html) {
    const seen = Math.max(0, ...[...part.querySelectorAll("[data-index]")].map(row => Number(row.dataset.index)));
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const fresh = [...parsed.querySelectorAll("[data-index]")].filter(row => Number(row.dataset.index) > seen);
    if (seen > 0 && fresh.length <= 5) fresh.forEach(row => row.classList.add("fresh"));
    part.replaceChildren(...parsed.body.childNodes);
  }
  function showWaiting() {
    for (const [id, html] of held ? [] : waiting) {
      const part = document.getElementById(id);
      if (part && !isUsed(part)) {
        waiting.delete(id);
        show(part, html);
      }
    }
  }
  function say(text) {
    if (link.textContent !== text) link.textContent = text;
  }
  function tell() {
    say(held ? "held" : source && source.readyState === EventSource.OPEN ? "live" : "not connected");
  }
  function begin() {
    source = new EventSource(address);
    source.onopen = source.onerror = tell;
    source.onmessage = event => {
      for (const part of JSON.parse(event.data)) waiting.set(part.id, part.html);
      showWaiting();
    };
  }
  function look() {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) begin();
  }
  hold.addEventListener("click", () => {
    held = !held;
    hold.setAttribute("aria-pressed", String(held));
    tell();
    showWaiting();
  });
  document.addEventListener("visibilitychange", look);
  document.addEventListener("focusout", () => setTimeout(showWaiting));
  document.addEventListener("pointerover", showWaiting);
  link.hidden = hold.hidden = false;
  tell();
  look();
}

// step lets the reader go through the rows of a diagram, which are all shown at first.
function step(stepper) {
  const rows = [...document.querySelectorAll(".spacetime .step")], words = [...document.querySelectorAll(".steps li")];
  const range = document.getElementById("step"), told = document.getElementById("told");
  const buttons = Object.fromEntries([...stepper.querySelectorAll("[data-go]")].map(button => [button.dataset.go, button]));

  function go(to, shown) {
    const at = Math.min(Math.max(to, 1), rows.length);
    range.value = at;
    rows.forEach((row, i) => {
      row.classList.toggle("later", i >= at);
      row.classList.toggle("now", shown && i === at - 1);
    });
    words.forEach((word, i) => shown && i === at - 1 ? word.setAttribute("aria-current", "step") : word.removeAttribute("aria-current"));
    const text = shown ? words[at - 1].lastElementChild.textContent : "All steps are shown. Go back, or begin with the first.";
    told.textContent = `${at} of ${rows.length}. ${text}`;
    range.setAttribute("aria-valuetext", told.textContent);
    for (const [way, button] of Object.entries(buttons)) { // not disabled: that would take the focus away
      button.setAttribute("aria-disabled", String(way === "first" || way === "back" ? at === 1 : at === rows.length));
    }
    if (shown) rows[at - 1].scrollIntoView({block: "nearest", inline: "nearest"});
  }
  const ways = {first: () => 1, back: () => Number(range.value) - 1, on: () => Number(range.value) + 1, last: () => rows.length};
  for (const [way, to] of Object.entries(ways)) buttons[way].addEventListener("click", () => go(to(), true));
  range.addEventListener("input", () => go(Number(range.value), true));
  stepper.hidden = false;
  go(rows.length, false);
}

if (document.body.dataset.live && window.EventSource) live(document.body.dataset.live);
document.querySelectorAll(".stepper").forEach(step);
