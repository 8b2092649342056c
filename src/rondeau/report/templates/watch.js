"use strict";
// Asks for what has changed, and exchanges only those sections: the place on the page, the theme and open parts stay.
(() => {
  const main = document.getElementById("main"), status = document.getElementById("status");
  const links = document.getElementById("links"), heading = document.querySelector("h1");
  const pause = Number(document.body.dataset.pause);
  document.documentElement.style.overflowAnchor = "none";  // the place is kept here, not by the browser too
  let version = "", timer = 0, asking = false;

  const element = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };

  const place = () => {  // the first section on the screen, and where on it
    for (const section of main.children) {
      const box = section.getBoundingClientRect();
      if (box.bottom > 0) return [section.id, box.top];
    }
    return ["", 0];
  };

  const show = (news) => {
    const [id, top] = place(), focused = document.activeElement && document.activeElement.id;
    const wanted = new Set(news.sections.map((section) => section.id));
    for (const old of [...main.children]) if (!wanted.has(old.id)) old.remove();
    news.sections.forEach((section, i) => {
      let now = document.getElementById(section.id);
      if (!now || now.dataset.made !== section.made) {
        const made = element(section.html);
        made.dataset.made = section.made;
        if (now) now.replaceWith(made);
        now = made;
      }
      if (main.children[i] !== now) main.insertBefore(now, main.children[i] || null);
    });
    if (links.dataset.made !== news.links) {
      links.innerHTML = news.links;
      links.dataset.made = news.links;
    }
    const kept = id && document.getElementById(id);
    if (kept && window.scrollY > 0) window.scrollBy({ top: kept.getBoundingClientRect().top - top, behavior: "instant" });
    if (focused && document.activeElement.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (heading.textContent !== news.title) heading.textContent = news.title;
    document.title = `${news.title} · Rondeau`;
  };

  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  const ask = async () => {
    clearTimeout(timer);
    if (document.hidden || asking) return;
    asking = true;
    try {
      const answer = await fetch(`/state?version=${encodeURIComponent(version)}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const news = await answer.json();
      if (news.sections) { show(news); version = news.version; }
      say(news.status);
    } catch {
      say("No answer: the watch has ended. Start it again, and this page goes on.");
    }
    asking = false;
    timer = setTimeout(ask, pause);
  };

  document.addEventListener("visibilitychange", ask);
  ask();
})();
