// What every page does beside htmx: the theme, times in the reader's zone, live pages, the playground.
"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);

  // Theme: as the system, light, dark.
  const button = byId("theme");
  const themes = ["", "light", "dark"];
  const words = { "": "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const present = () => root.dataset.theme || "";
  const show = () => { button.textContent = words[present()]; };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(present()) + 1) % themes.length];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try {
      if (next) localStorage.setItem("theme", next); else localStorage.removeItem("theme");
    } catch { /* It holds for this page. */ }
    show();
    document.dispatchEvent(new Event("theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));

  // Times, in the reader's own zone: only the clock for today's.
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const localise = (within) => {
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const today = at.toDateString() === new Date().toDateString();
      const text = (today ? clock : day).format(at);
      if (time.textContent !== text) time.textContent = text;
      if (!time.title) time.title = whole.format(at);
    }
  };
  localise(document);
  document.addEventListener("htmx:after:swap", () => localise(document));

  // Live pages.
  const live = byId("live");
  const line = byId("line");
  if (live && line) {
    const pause = byId("pause");
    let paused = false;
    const say = (text, state) => { line.textContent = text; line.className = `dot ${state}`; };
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on" : "Pause";
      say(paused ? `paused at ${clock.format(new Date())}` : "live", paused ? "" : "up");
    });
    live.addEventListener("htmx:sse:before:message", (event) => {
      if (paused) event.preventDefault(); else say("live", "up");
    });
    live.addEventListener("htmx:sse:error", (event) => {
      if (event.detail.status === 401) location.reload();
      else if (!paused) say("not connected, trying again", "down");
    });
    live.addEventListener("trouble", (event) => say(event.detail.data, "down"));
  }

  // The playground.
  const form = byId("play");
  if (form) {
    const stop = byId("stop");
    const text = () => byId("answer-text");
    form.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    form.addEventListener("htmx:before:request", (event) => { if (event.target === form) stop.disabled = false; });
    form.addEventListener("htmx:finally:request", () => {
      stop.disabled = true;
      text()?.removeAttribute("aria-busy");
    });
    form.addEventListener("htmx:sse:close", () => { stop.disabled = true; text()?.removeAttribute("aria-busy"); });
    stop.addEventListener("click", () => htmx.trigger(form, "htmx:abort"));
  }
})();
