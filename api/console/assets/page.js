// Keeps the page of a pairing link up to date. The server renders every screen; this puts them in, by server-sent events or, where a
// proxy swallows those, by asking again. Without this script the page works by plain forms.
(() => {
  "use strict";
  const root = document.documentElement;
  const screen = document.getElementById("screen");
  const say = document.getElementById("say");
  const offline = document.getElementById("offline");
  const here = location.pathname;
  const patience = 6000; // for the first event: a proxy that holds events back is found out
  const every = 3000; // asking again

  root.classList.add("js");
  if (navigator.clipboard && isSecureContext) root.classList.add("copies");

  let name = screen.dataset.name;
  let final = screen.dataset.final === "true";
  let at = 0; // of the screen that is shown: none that is older takes its place
  let source = null;
  let timer = 0;

  // The QR code's time, by this machine's own clock.
  let until = 0;
  let whole = 1;
  const wind = (left) => {
    until = performance.now() + left;
    whole = Math.max(left, 1);
  };
  const tick = () => {
    const bar = document.getElementById("turn");
    if (bar) bar.value = Math.min(1, Math.max(0, (until - performance.now()) / whole));
  };
  wind(Number(screen.dataset.left));
  setInterval(tick, 250);

  const show = (next) => {
    if (next.at < at) return;
    at = next.at;
    offline.hidden = true;
    if (next.name !== name) {
      const hadFocus = screen.contains(document.activeElement);
      screen.innerHTML = next.html;
      name = screen.dataset.name = next.name;
      const target = screen.querySelector("[aria-invalid]") || screen.querySelector("h1");
      if (hadFocus && target) target.focus();
      if (say.textContent !== next.say) say.textContent = next.say;
    } else {
      // What is typed or focused stays: only what is live is replaced.
      const fresh = document.createElement("template");
      fresh.innerHTML = next.html;
      for (const part of fresh.content.querySelectorAll("[data-live]")) {
        const old = screen.querySelector(`[data-live="${part.dataset.live}"]`);
        if (old && old.innerHTML !== part.innerHTML) old.replaceWith(part);
      }
    }
    if (next.leftMs && Math.abs(until - performance.now() - next.leftMs) > 1500) wind(next.leftMs);
    document.title = next.title;
    final = Boolean(next.final);
    if (final) rest();
  };

  const lost = () => {
    offline.textContent = screen.dataset.offline;
    offline.hidden = false;
  };

  const rest = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };

  // read takes an answer that holds a screen, whatever its status.
  const read = async (response) => {
    if ((response.headers.get("Content-Type") || "").startsWith("application/json")) show(await response.json());
    return Number(response.headers.get("Retry-After")) * 1000;
  };

  const ask = async (again) => {
    clearTimeout(timer);
    let wait = every;
    try {
      const response = await fetch(here + "/state" + location.search, { cache: "no-store" });
      wait = Math.max(wait, await read(response));
    } catch {
      lost();
    }
    if (!final && again > 0) timer = setTimeout(() => ask(again - 1), wait);
    else if (!final && again === 0) listen();
  };

  const listen = () => {
    rest();
    if (final || document.hidden) return;
    source = new EventSource(here + "/events" + location.search);
    const mine = source;
    const fall = () => {
      clearTimeout(deaf);
      mine.close();
      if (mine === source) ask(10); // and then try to listen again
    };
    const deaf = setTimeout(fall, patience);
    mine.addEventListener("screen", (event) => {
      clearTimeout(deaf);
      show(JSON.parse(event.data));
    });
    mine.onerror = () => {
      if (mine.readyState === EventSource.CLOSED) fall(); // else the browser comes again by itself
    };
  };

  document.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (!button || button.getAttribute("aria-busy")) return;
    const body = new URLSearchParams(new FormData(event.target));
    if (button.name) body.set(button.name, button.value);
    button.setAttribute("aria-busy", "true");
    button.focus();
    try {
      await read(await fetch(here + location.search, { method: "POST", headers: { Accept: "application/json" }, body }));
    } catch {
      lost();
    }
    button.removeAttribute("aria-busy");
    if (!final && !source) listen();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.dataset.copied;
      say.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(screen.querySelector(".code"));
    }
  });

  // A phone puts the page to sleep while its owner is in WhatsApp: what it shows is to be right at once when they come back.
  document.addEventListener("visibilitychange", () => {
    if (final) return;
    if (document.hidden) rest();
    else listen();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted && !final) listen();
  });
  addEventListener("pagehide", rest);

  listen();
})();
