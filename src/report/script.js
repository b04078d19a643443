
"use strict";
// Comfort only: without it everything on the page can be read. It writes text, never markup.
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.querySelector(".controls").hidden = false;

  // ---- Theme ----
  const theme = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
  systemDark.addEventListener("change", nameTheme);
  nameTheme();

  // ---- Times: UTC as written, or the reader's ----
  const zone = document.getElementById("zone");
  const two = (n) => String(n).padStart(2, "0");
  const clock = (t) => `${two(t.getHours())}:${two(t.getMinutes())}`;
  const full = (t) => `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(t)}:${two(t.getSeconds())}`;
  const times = [...all("time").map((e) => [e, e.dateTime, full]), ...all("[data-clock]").map((e) => [e, e.dataset.clock, clock])];
  const words = [...times.map(([e, at, write]) => [e, e.textContent, write(new Date(at))]),
    ...all(".zone").map((e) => [e, e.textContent, Intl.DateTimeFormat().resolvedOptions().timeZone || "local time"])];
  zone.addEventListener("click", () => {
    const local = zone.getAttribute("aria-pressed") !== "true";
    zone.setAttribute("aria-pressed", String(local));
    for (const [element, utc, here] of words) element.textContent = local ? here : utc;
  });

  // ---- Sorting: by data-v where there is one, else by text ----
  const order = new Intl.Collator(undefined, { numeric: true });
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
  };
  const compare = (kind) => (a, b) => (kind === "number" ? Number(a) - Number(b) : order.compare(a, b));
  const sort = (heading) => {
    const table = heading.closest("table");
    const kind = heading.dataset.sort;
    const before = heading.getAttribute("aria-sort");
    const first = kind === "number" ? "descending" : "ascending";
    const second = kind === "number" ? "ascending" : "descending";
    const now = before === first ? second : first;
    for (const other of all("th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    const by = compare(kind);
    const rows = [...table.tBodies[0].rows].map((row) => [row, valueOf(row, heading.cellIndex)]);
    rows.sort(([, a], [, b]) => (a === "") - (b === "") || sign * by(a, b)); // what has no value comes last
    table.tBodies[0].append(...rows.map(([row]) => row));
  };
  for (const heading of all("th[data-sort]")) {
    const head = heading.querySelector(".head");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(heading));
  }

  // ---- Searching: every word must be in the row ----
  const input = document.getElementById("filter");
  const found = document.getElementById("found");
  const rows = all("main table:not([data-fixed]) > tbody > tr").map((row) => [row, row.textContent.toLowerCase()]);
  const search = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    found.textContent = wanted.length ? `${shown} of ${rows.length} rows have “${input.value.trim()}”` : "";
  };
  input.addEventListener("input", search);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && document.activeElement === input) {
      input.value = "";
      search();
    }
  });

  // ---- Printing: what is folded is unfolded ----
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    for (const details of folded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of folded) details.open = false;
  });
})();
