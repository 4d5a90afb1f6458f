// Own script of the console. Everything works without it, but for times in the reader's zone and live parts.
"use strict";

// Times are written in UTC by the server; here they are shown as the reader's clock has them.
const WHOLE = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" };
const SHORT = { hour: "2-digit", minute: "2-digit" };
const showTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.dateTime;
    // The year goes without saying while it is this one.
    const year = at.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
    time.textContent = at.toLocaleString(undefined, "short" in time.dataset ? SHORT : { ...year, ...WHOLE });
  }
};

// On a phone a row of a table is a card (see the style): each cell is told what it is, and each part what it still is to those
// who hear it.
const ROLES = [["table", "table"], ["thead, tbody", "rowgroup"], ["tr", "row"], ["th", "columnheader"], ["td", "cell"]];
const tellTables = (root) => {
  for (const table of root.querySelectorAll(".table > table:not(.told)")) {
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    // A few columns of numbers have room enough.
    const isSmall = heads.length <= 3 && table.querySelector("td.number");
    const isPlain = heads.length > 1 && !isSmall && !table.querySelector("td[colspan], tbody th");
    if (!isPlain) continue;
    for (const [which, role] of ROLES) {
      for (const part of which === "table" ? [table] : table.querySelectorAll(which)) part.setAttribute("role", role);
    }
    for (const row of table.querySelectorAll("tbody tr")) {
      for (const [nth, cell] of [...row.cells].entries()) {
        cell.dataset.of = heads[nth] ?? "";
        if (!cell.hasChildNodes()) continue;
        const inner = document.createElement("div");
        inner.className = "in";
        inner.append(...cell.childNodes);
        cell.append(inner);
      }
    }
    table.classList.add("told");
  }
};

const dress = (root) => {
  showTimes(root);
  tellTables(root);
};

// A part with data-live="URL" is fetched again every few seconds while the page is seen. The server sends it as a whole page,
// of which the part with the same id is taken: parsed, never run. That it is fetched is no sign that somebody is there, and says
// so. What is not renewed any more says that too.
const live = (part) => {
  let failures = 0;
  let seen = new Date();
  const note = document.createElement("p");
  note.className = "note";
  note.setAttribute("role", "status");
  note.hidden = true;
  part.before(note);
  const tell = (text) => {
    if (note.textContent !== text) note.textContent = text;
    note.hidden = text === "";
  };
  const again = async () => {
    if (!document.hidden && !part.contains(document.activeElement)) {
      try {
        const answer = await fetch(part.dataset.live, { redirect: "manual", headers: { "X-Tollgate-Live": "1" } });
        if (answer.type === "opaqueredirect") {
          tell("Your session has ended, and this is not renewed any more. Load the page again to sign in.");
          return;
        }
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.getElementById(part.id);
        if (next) {
          part.replaceChildren(...document.importNode(next, true).childNodes);
          dress(part);
        }
        failures = 0;
        seen = new Date();
        tell("");
      } catch {
        failures += 1;
        tell(`The gateway does not answer. This is how it was at ${seen.toLocaleTimeString()}.`);
      }
    }
    setTimeout(again, Math.min(60_000, 5_000 * 2 ** failures));
  };
  setTimeout(again, 5_000);
};

dress(document);
for (const part of document.querySelectorAll("[data-live][id]")) live(part);

// In which zone the times are.
if (document.querySelector("main time[datetime]")) {
  const zone = document.createElement("p");
  zone.className = "zone";
  zone.textContent = `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
  document.querySelector("main").append(zone);
}

// Whoever is refused something goes back to where they typed it.
for (const back of document.querySelectorAll("a[data-back]")) {
  back.hidden = history.length < 2;
  back.addEventListener("click", (event) => {
    event.preventDefault();
    history.back();
  });
}

// What cannot be undone is asked about once more.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.sure ?? event.target.dataset.sure;
  if (question && !confirm(question)) event.preventDefault();
});

// On wide screens what a phone folds away is always open.
const wide = matchMedia("(min-width: 64rem)");
const unfold = () => {
  for (const part of document.querySelectorAll("details.wide")) part.open = wide.matches;
};
wide.addEventListener("change", unfold);
unfold();
