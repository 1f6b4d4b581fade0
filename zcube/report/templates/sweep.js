"use strict";
// Any two columns of a sweep against each other: a mark a point and fabric, bars their intervals over the seeds.
(() => {
  const { columns, labels, from_zero, start, fabrics, marks } = JSON.parse(document.getElementById("sweep-data").textContent);
  const [choice, drawn, told] = [".axes-choice", "#sweep-drawn", "#sweep-told"].map((one) => document.querySelector(one));
  const selects = ["x", "y"].map((axis) => document.getElementById(`sweep-${axis}`));
  if (!columns.length || !marks.length) return;
  choice.hidden = false;
  selects.forEach((select, axis) => {
    columns.forEach((name, place) => select.add(new Option(name, String(place), false, place === start[axis])));
    select.addEventListener("change", draw);
  });

  const [left, bottom, right, apart] = [84, 56, 18, 190];
  let width = 0;
  const plain = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

  function element(name, attributes, content) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (content !== undefined) made.textContent = content;
    return made;
  }

  // From 0 for what cannot be negative, else where nothing is and 0 is not far off; steps of 1, 2 or 5.
  function scale(values, zero, from, to) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (zero || (low >= 0 && low < 0.6 * high)) low = 0;
    if (zero && !high) high = 1;
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
    [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
    const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, place) => low + place * step);
    return { at: (value) => from + ((Math.max(value, low) - low) / (high - low)) * (to - from), ticks };
  }

  function sentence([fabric, words, values], x, y) {
    const one = (place) => {
      const [mean, low, high] = values[place];
      return `${columns[place]} ${plain(mean)}${low === undefined || low === high ? "" : ` (${plain(low)} to ${plain(high)})`}`;
    };
    return `${fabrics[fabric].name}, ${words}: ${one(x)}, ${one(y)}`;
  }

  function room() {
    return Math.min(960, Math.max(320, drawn.clientWidth || 760));
  }

  function draw() {
    const [x, y] = selects.map((select) => Number(select.value));
    // As wide as there is room, so that words have their size on a phone too.
    width = room();
    const height = Math.max(340, Math.min(520, 0.6 * width));
    const names = Math.max(1, Math.floor((width - 14) / apart));
    const top = 14 + 20 * Math.ceil(fabrics.length / names);
    const shown = marks.filter(([, , values]) => values[x] && values[y]);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${columns[y]} over ${columns[x]}` });
    drawn.replaceChildren(svg);
    if (!shown.length) {
      svg.append(element("text", { x: width / 2, y: height / 2, "text-anchor": "middle", fill: "var(--soft)" }, "No run has both."));
      return;
    }
    const across = scale(shown.flatMap(([, , values]) => values[x]), from_zero[x], left, width - right);
    const up = scale(shown.flatMap(([, , values]) => values[y]), from_zero[y], height - bottom, top);
    const label = { "font-size": 12, fill: "var(--ink)" };
    const every = Math.ceil((56 * across.ticks.length) / (width - left - right));
    across.ticks.forEach((tick, place) => {
      svg.append(element("line", { x1: across.at(tick), x2: across.at(tick), y1: top, y2: height - bottom, stroke: "var(--line)" }));
      if (place % every) return;
      svg.append(element("text", { x: across.at(tick), y: height - bottom + 18, "text-anchor": "middle", ...label }, plain(tick)));
    });
    for (const tick of up.ticks) {
      svg.append(element("line", { x1: left, x2: width - right, y1: up.at(tick), y2: up.at(tick), stroke: "var(--line)" }));
      svg.append(element("text", { x: left - 8, y: up.at(tick) + 4, "text-anchor": "end", ...label }, plain(tick)));
    }
    svg.append(element("text", { x: (left + width - right) / 2, y: height - 10, "text-anchor": "middle", ...label }, labels[x]));
    const middle = (top + height - bottom) / 2;
    svg.append(element("text", { x: 16, y: middle, transform: `rotate(-90 16 ${middle})`, "text-anchor": "middle", ...label }, labels[y]));
    fabrics.forEach(({ name, colour }, place) => {
      const [x, y] = [14 + (place % names) * apart, 14 + 20 * Math.floor(place / names)];
      svg.append(element("circle", { cx: x, cy: y, r: 5, fill: colour }));
      svg.append(element("text", { x: x + 10, y: y + 4, ...label }, name.length > 24 ? `${name.slice(0, 23)}…` : name));
    });
    const dots = shown.map((mark, place) => {
      const [fabric, , values] = mark;
      // Fabrics that are alike stand beside each other.
      const aside = (fabric - (fabrics.length - 1) / 2) * Math.min(6, 40 / fabrics.length);
      const [cx, cy, colour] = [across.at(values[x][0]) + aside, up.at(values[y][0]), fabrics[fabric].colour];
      const bar = { stroke: colour, "stroke-width": 1.2 };
      if (values[x].length > 1) svg.append(element("line", { x1: across.at(values[x][1]), x2: across.at(values[x][2]), y1: cy, y2: cy, ...bar }));
      if (values[y].length > 1) svg.append(element("line", { x1: cx, x2: cx, y1: up.at(values[y][1]), y2: up.at(values[y][2]), ...bar }));
      const words = sentence(mark, x, y);
      const dot = element("circle", { cx, cy, r: 5, fill: colour, stroke: "var(--paper)", role: "img", tabindex: place ? -1 : 0, "aria-label": words });
      dot.append(element("title", {}, words));
      for (const event of ["focus", "pointerenter", "click"]) dot.addEventListener(event, () => (told.textContent = words));
      dot.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = dots[(place + step + dots.length) % dots.length];
        dot.setAttribute("tabindex", -1);
        next.setAttribute("tabindex", 0);
        next.focus();
      });
      return dot;
    });
    svg.append(...dots);
  }

  draw();
  addEventListener("resize", () => {
    if (room() !== width) draw();
  });
})();
