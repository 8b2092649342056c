"use strict";
// Runs in the head, before anything is painted: the theme that was chosen, or the system's.
(() => {
  const root = document.documentElement, key = "rondeau-theme", system = matchMedia("(prefers-color-scheme: dark)");
  const keep = (value) => { try { localStorage.setItem(key, value); } catch { /* a page from a file may not be let */ } };
  const kept = () => { try { return localStorage.getItem(key); } catch { return null; } };
  const chosen = kept();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const say = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      keep(root.dataset.theme);
      say();
    });
    system.addEventListener("change", say);
    say();
  });
})();
