"use strict";
// The plot of the front: axes from two selects, a point a fabric, told on hover and focus, picked by click or Enter.
(() => {
  const data = JSON.parse(document.getElementById("plan-data").textContent);
  const plot = document.getElementById("plot");
  const told = document.getElementById("told");
  const axes = ["across", "up"].map((id) => document.getElementById(id));
  const byKey = Object.fromEntries(data.objectives.map((one) => [one.key, one]));
  let picked = data.fabrics.find((one) => one.chosen) || data.fabrics.find((one) => one.state === "on the front") || data.fabrics[0];
  let current = picked;
  const places = new Map();

  function made(parent, kind, attributes, text) {
    const element = document.createElementNS(parent.namespaceURI, kind);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  function shown(value) {
    if (value === null) return "-";
    const whole = Math.abs(value) >= 1000 || Number.isInteger(value);
    return whole ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
  }

  function titled(one) {
    return one.label + (one.unit ? ` (${one.unit})` : "");
  }

  function ticks(low, high, wanted) {
    const raw = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
    const found = [];
    for (let number = Math.ceil(low / step - 1e-9); number * step <= high + step * 1e-9; number++) found.push(number * step || 0);
    return found;
  }

  function scale(values, start, end) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low || Math.abs(high) || 1) * 0.08;
    low = low >= 0 ? Math.max(0, low - margin) : low - margin;
    high += margin;
    return { low, high, at: (value) => start + ((value - low) / (high - low)) * (end - start) };
  }

  // Fabrics whose points lie over that of another.
  function near(fabric) {
    const [x, y] = places.get(fabric) || [NaN, NaN];
    return [...places].filter(([other, [a, b]]) => other !== fabric && Math.hypot(a - x, b - y) < 10).map(([other]) => other);
  }

  function tell(fabric) {
    told.replaceChildren();
    const head = made(told, "p", {});
    const mark = made(head, "span", { class: "swatch" });
    mark.style.background = fabric.colour || "var(--line)";
    made(head, "b", {}, fabric.name);
    made(head, "span", {}, ` ${fabric.state}${fabric.chosen ? ", recommended" : ""}${fabric.tied ? ", tied in every objective" : ""}`);
    made(told, "p", { class: "soft" }, [fabric.arrangement, fabric.note].filter(Boolean).join("; "));
    const list = made(told, "dl", {});
    for (const one of data.objectives) {
      const row = made(list, "div", {});
      made(row, "dt", {}, titled(one));
      made(row, "dd", {}, shown(fabric.values[one.key]));
    }
    const beside = near(fabric);
    if (!beside.length) return;
    const line = made(told, "p", { class: "soft" }, "At the same place:");
    for (const other of beside) made(line, "button", { type: "button" }, other.name).addEventListener("click", () => pick(other));
  }

  function pick(fabric) {
    picked = fabric;
    for (const element of document.querySelectorAll("[data-fabric]"))
      element.classList.toggle("picked", element.dataset.fabric === fabric.slug);
    const picture = document.getElementById(`picture-${fabric.slug}`);
    if (picture) picture.open = true;
    for (const element of plot.querySelectorAll(".point"))
      element.setAttribute("aria-pressed", String(element.dataset.slug === fabric.slug));
    tell(fabric);
  }

  function frame(x, y, box) {
    for (const value of ticks(x.low, x.high, box.width / 110)) {
      made(plot, "line", { class: "grid", x1: x.at(value), x2: x.at(value), y1: box.top, y2: box.bottom });
      made(plot, "text", { x: x.at(value), y: box.bottom + 16, "text-anchor": "middle" }, shown(value));
    }
    for (const value of ticks(y.low, y.high, 6)) {
      made(plot, "line", { class: "grid", x1: box.left, x2: box.right, y1: y.at(value), y2: y.at(value) });
      made(plot, "text", { x: box.left - 6, y: y.at(value) + 4, "text-anchor": "end" }, shown(value));
    }
    const [across, up] = axes.map((select) => byKey[select.value]);
    made(plot, "text", { x: box.right, y: box.bottom + 34, "text-anchor": "end" }, `${titled(across)}, ${across.better} is better`);
    made(plot, "text", { x: 4, y: 14 }, `${titled(up)}, ${up.better} is better`);
  }

  function draw() {
    const width = plot.clientWidth, height = plot.clientHeight;
    plot.replaceChildren();
    places.clear();
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [across, up] = axes.map((select) => select.value);
    const placed = data.fabrics.filter((one) => one.values[across] !== null && one.values[up] !== null);
    if (!placed.length) return;
    const box = { left: 62, right: width - 36, top: 26, bottom: height - 44, width: width - 98 };
    const x = scale(placed.map((one) => one.values[across]), box.left, box.right);
    const y = scale(placed.map((one) => one.values[up]), box.bottom, box.top);
    frame(x, y, box);
    // In the order of the axis, so that arrow keys go from left to right; drawn last, on top, are the front and the one chosen.
    placed.sort((one, other) => one.values[across] - other.values[across] || one.values[up] - other.values[up]);
    const points = new Map();
    const rank = (one) => (one.state === "on the front") + one.chosen;
    for (const fabric of [...placed].sort((one, other) => rank(one) - rank(other))) {
      places.set(fabric, [x.at(fabric.values[across]), y.at(fabric.values[up])]);
      points.set(fabric, point(fabric, ...places.get(fabric)));
    }
    if (!points.has(current)) current = placed[0];
    points.get(current).setAttribute("tabindex", "0");
    plot.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step) {
        points.get(current).setAttribute("tabindex", "-1");
        current = placed[(placed.indexOf(current) + step + placed.length) % placed.length];
        points.get(current).setAttribute("tabindex", "0");
        points.get(current).focus();
      } else if (event.key === "Enter" || event.key === " ") pick(current);
      else return;
      event.preventDefault();
    };
  }

  function point(fabric, x, y) {
    const [across, up] = axes.map((select) => byKey[select.value]);
    const values = [across, up].map((one) => `${titled(one)} ${shown(fabric.values[one.key])}`).join(", ");
    const group = made(plot, "g", {
      class: fabric.state === "on the front" ? "point" : "point off",
      transform: `translate(${x} ${y})`,
      role: "button",
      tabindex: "-1",
      "aria-label": `${fabric.name}, ${fabric.state}, ${values}`,
      "aria-pressed": String(fabric === picked),
      "data-slug": fabric.slug,
    });
    made(group, "circle", { class: "halo", r: 15 });
    if (fabric.tied) made(group, "circle", { class: "tie", r: 11 });
    if (fabric.chosen) made(group, "circle", { class: "best", r: 13 });
    const outline = { d: fabric.shape };
    if (fabric.colour) outline.fill = fabric.colour;
    else outline.transform = "scale(.7)";
    made(group, "path", outline);
    group.addEventListener("pointerenter", () => tell(fabric));
    group.addEventListener("pointerleave", () => tell(picked));
    group.addEventListener("focus", () => tell(fabric));
    group.addEventListener("click", () => {
      rove(group, fabric);
      pick(fabric);
    });
    return group;
  }

  function rove(group, fabric) {
    for (const element of plot.querySelectorAll(".point")) element.setAttribute("tabindex", "-1");
    group.setAttribute("tabindex", "0");
    current = fabric;
  }

  axes.forEach((select, number) => {
    for (const one of data.objectives) made(select, "option", { value: one.key }, titled(one));
    select.value = data.axes[number];
    select.addEventListener("change", draw);
  });
  new ResizeObserver(draw).observe(plot);
  draw();
  pick(picked);
})();
