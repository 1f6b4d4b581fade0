"use strict";
// What every page can do: change its theme, open and sort, copy commands, tell definitions.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  for (const tools of all(".tools")) tools.hidden = false;

  // The theme lasts as long as the page is open; nothing is stored.
  const themes = ["system", "light", "dark"];
  for (const button of all("[data-theme-switch]"))
    button.addEventListener("click", () => {
      const now = themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % themes.length];
      if (now === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = now;
      button.textContent = `Theme: ${now}`;
    });

  for (const button of all("[data-open-all]"))
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-pressed") !== "true";
      for (const one of all("main details")) one.open = open;
      button.setAttribute("aria-pressed", String(open));
      button.textContent = open ? "Close all" : "Open all";
    });

  // On paper everything is light and open; afterwards what was closed is closed again.
  let closed = [];
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.printing = "";
    closed = all("main details:not([open])");
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.printing;
    for (const one of closed) one.open = false;
  });

  // A link to a place opens all that is around it.
  function reveal() {
    const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = place; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    if (place) place.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();

  const text = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

  // Numbers stand with thousands separated; what is no number sorts behind all that is.
  function value(cell) {
    const told = cell.querySelector("data");
    const plain = told ? told.value : text(cell).replace(/,/g, "");
    const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i.exec(plain);
    return number ? Number(number[0]) : null;
  }

  function compared(one, other) {
    const [a, b] = [value(one), value(other)];
    if (a !== null && b !== null) return a - b;
    if (a !== null || b !== null) return a === null ? 1 : -1;
    return text(one).localeCompare(text(other), "en", { numeric: true });
  }

  function sort(table, place, downwards) {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => row.cells.length > place && !row.matches(".section, .total"));
      const last = all(".total", body);
      rows.sort((one, other) => compared(one.cells[place], other.cells[place]) * (downwards ? -1 : 1));
      body.append(...rows, ...last);
    }
  }

  function sortable(table) {
    const head = table.tHead && table.tHead.rows.length === 1 && table.tHead.rows[0];
    if (!head || all("tbody tr", table).length < 3) return;
    [...head.cells].forEach((cell, place) => {
      if (cell.colSpan > 1 || !text(cell)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...cell.childNodes);
      cell.append(button);
      cell.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const downwards = cell.getAttribute("aria-sort") === "ascending";
        for (const other of head.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        cell.setAttribute("aria-sort", downwards ? "descending" : "ascending");
        sort(table, place, downwards);
      });
    });
  }

  for (const region of all(".wide")) {
    const table = region.querySelector("table");
    if (table) sortable(table);
  }

  // Only a region that scrolls needs a stop on the way of the Tab key.
  const watched = new ResizeObserver((entries) => {
    for (const { target } of entries)
      if (target.scrollWidth > target.clientWidth + 1) target.setAttribute("tabindex", "0");
      else target.removeAttribute("tabindex");
  });
  for (const region of all(".wide")) watched.observe(region);

  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }

  // A definition stands once, in its table; here it is told where it is asked for.
  const dialog = document.getElementById("definition");
  for (const link of all("a.definition"))
    link.addEventListener("click", (event) => {
      const row = document.getElementById(link.hash.slice(1));
      if (!row || !dialog.showModal) return;
      event.preventDefault();
      dialog.querySelector("h2").textContent = row.cells[0].textContent;
      dialog.querySelector("[data-told]").replaceChildren(
        ...[...row.cells].slice(1).map((cell, at) => {
          const line = document.createElement("p");
          line.textContent = at ? cell.textContent : `Unit: ${cell.textContent}`;
          return line;
        }),
      );
      dialog.showModal();
    });
})();
