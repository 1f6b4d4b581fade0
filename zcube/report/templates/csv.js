"use strict";
// Saves tables as CSV: one value a column, in the units that are shown; intervals and what stands beneath have columns of their own.
(() => {
  const NUMBER = String.raw`[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[+-]?\d+)?`;
  const ALONE = new RegExp(String.raw`^(${NUMBER})(?: ?(%|pp))?(?: ?± ?(${NUMBER}))?(?: ?(\*))?$`, "i");
  const BETWEEN = new RegExp(String.raw`^(${NUMBER})(?: ?(?:%|pp))? to (${NUMBER})(?: ?(%|pp))?$`, "i");
  const isNumber = (shown) => /\d/.test(shown) && new RegExp(`^${NUMBER}$`, "i").test(shown);
  const text = (element) => element.textContent.replace(/\s+/g, " ").trim();

  // A number without its thousands' commas and its plus; of texts those that a spreadsheet would take for a formula are told as text.
  function field(shown) {
    const plain = isNumber(shown) ? shown.replace(/,/g, "").replace(/^\+/, "") : /^[=+\-@\t]/.test(shown) && shown !== "-" ? `'${shown}` : shown;
    return /[",\r\n]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
  }

  // A cell's parts by what they are: its value and unit, the ends of an interval, half of one, a number beneath, a remark.
  function parts(cell) {
    const copy = (cell.querySelector("summary") || cell).cloneNode(true);
    const beside = [...copy.querySelectorAll("small, br + span, [hidden], [data-beneath]")];
    for (const one of beside) one.remove();
    const found = { value: "" };
    [copy, ...beside].forEach((part, at) => {
      const shown = at ? text(part).replace(/^\((.*)\)$/, "$1") : text(part);
      const between = BETWEEN.exec(shown), alone = ALONE.exec(shown);
      if (between && isNumber(between[1]) && isNumber(between[2])) Object.assign(found, { low: between[1], high: between[2], ends: between[3] || "" });
      else if (alone && isNumber(alone[1])) {
        if (at) found.beneath = alone[1];
        else Object.assign(found, { value: alone[1], unit: alone[2] || "", half: alone[3], remark: alone[4] });
      } else if (!at) found.value = shown;
      else if (shown && shown !== "-") found.remark = shown;
    });
    return found;
  }

  // A row's cells at their columns: one that goes over several stands in the first.
  function placed(row, told) {
    const cells = [];
    for (const cell of row.cells) {
      cells.push(told(cell));
      for (let more = 1; more < cell.colSpan; more++) cells.push(null);
    }
    return cells;
  }

  function columns(head, place, rows, beneath) {
    const name = head ? text(head) : "", cells = rows.map((row) => row[place]).filter(Boolean);
    const units = (key) => [...new Set(cells.filter((cell) => cell[key] !== undefined && cell[key] !== null).map((cell) => cell[key]))];
    const known = (key) => cells.some((cell) => cell[key] !== undefined);
    const inUnit = (title, unit) => (unit && !title.includes(unit) ? `${title} (${unit})` : title);
    const [own, ends] = [units("unit"), units("ends")], single = own.length === 1 ? own[0] : "", between = (head && head.dataset.between) || name;
    const endsUnit = ends.length === 1 ? ends[0] : "";
    const found = [[inUnit(name, single), "value"]];
    if (own.length > 1) found.push([`${name}, unit`, "unit"]);
    if (known("low")) found.push([inUnit(`${between}, low`, endsUnit), "low"], [inUnit(`${between}, high`, endsUnit), "high"]);
    if (ends.length > 1) found.push([`${between}, unit`, "ends"]);
    if (known("half")) found.push([inUnit(`${name}, half of the interval`, single), "half"]);
    if (known("beneath")) found.push([`${name}, ${beneath}`, "beneath"]);
    if (known("remark")) found.push([`${name}, remark`, "remark"]);
    return found.map(([title, key]) => [title, (row) => (row[place] && row[place][key]) || ""]);
  }

  function csv(table) {
    const heads = table.tHead ? placed([...table.tHead.rows].pop(), (cell) => cell) : [];
    const rows = [...table.rows].filter((row) => row.parentElement !== table.tHead).map((row) => placed(row, parts));
    const many = Math.max(heads.length, ...rows.map((row) => row.length));
    const kept = Array.from({ length: many }, (_, place) => place).filter((place) => !heads[place] || !("drawn" in heads[place].dataset));
    const all = kept.flatMap((place) => columns(heads[place], place, rows, table.dataset.beneath || "beneath"));
    const lines = [...(heads.length ? [all.map(([title]) => title)] : []), ...rows.map((row) => all.map(([, of]) => of(row)))];
    return lines.map((line) => line.map(field).join(",")).join("\r\n") + "\r\n";
  }

  function exported(table, label) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "csv";
    button.textContent = "Save as CSV";
    button.setAttribute("aria-label", `Save as CSV: ${label}`);
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
      link.download = `${label.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "table"}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
    return button;
  }

  for (const region of document.querySelectorAll(".wide")) {
    const table = region.querySelector("table");
    if (table) region.after(exported(table, region.getAttribute("aria-label") || "table"));
  }
})();
