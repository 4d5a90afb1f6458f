// Own script of the console. Everything works without it, but for times in the reader's zone and live parts.
"use strict";

// Times are written in UTC by the server; here they are shown as the reader's clock has them.
const showTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.dateTime;
    time.textContent = at.toLocaleString(undefined, {
      year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    });
  }
};

// A part with data-live="URL" is fetched again every few seconds while the page is seen. The server sends it as a whole page,
// of which the part with the same id is taken: parsed, never run.
const live = (part) => {
  let failures = 0;
  const again = async () => {
    if (!document.hidden && !part.contains(document.activeElement)) {
      try {
        const answer = await fetch(part.dataset.live, { redirect: "error" });
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.getElementById(part.id);
        if (next) {
          part.replaceChildren(...document.importNode(next, true).childNodes);
          showTimes(part);
        }
        failures = 0;
      } catch {
        failures += 1;
      }
    }
    setTimeout(again, Math.min(60_000, 5_000 * 2 ** failures));
  };
  setTimeout(again, 5_000);
};

showTimes(document);
for (const part of document.querySelectorAll("[data-live][id]")) live(part);

// What cannot be undone is asked about once more.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.sure ?? event.target.dataset.sure;
  if (question && !confirm(question)) event.preventDefault();
});

// On wide screens the menu is always open.
const wide = matchMedia("(min-width: 60rem)");
const openMenu = () => {
  for (const menu of document.querySelectorAll("details.menu")) menu.open = wide.matches;
};
wide.addEventListener("change", openMenu);
openMenu();
