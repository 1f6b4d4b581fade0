"use strict";
// Reads curves at a place: a slider below a picture, or the pointer in it, moves a line, and the parts there are told.
(() => {
  function dashed(picture, y1, y2) {
    const line = document.createElementNS(picture.namespaceURI, "line");
    const look = { y1, y2, stroke: "var(--ink)", "stroke-dasharray": "2 2", visibility: "hidden" };
    for (const [key, value] of Object.entries(look)) line.setAttribute(key, value);
    picture.append(line);
    return line;
  }
  const numbers = (path) => (path.getAttribute("d").match(/-?\d+(\.\d+)?/g) || []).map(Number);

  // Points of a path, x and y in turn; a step goes on at the height of the last point at or before a place.
  function height(points, x) {
    let found = null;
    for (let at = 0; at + 1 < points.length && points[at] <= x; at += 2) found = points[at + 1];
    return found;
  }

  function shown(value) {
    return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumSignificantDigits: 3 });
  }

  for (const picture of document.querySelectorAll(".picture svg")) {
    const frame = picture.querySelector("[data-reach]");
    const curves = [...picture.querySelectorAll("[data-curve]")].map((group) => ({
      name: group.dataset.curve,
      points: numbers(group.querySelector("path")),
    }));
    if (!frame || !curves.length) continue;
    const { low, high, top, unit } = JSON.parse(frame.dataset.reach);
    const corners = numbers(frame.querySelector("path"));
    const across = corners.filter((_, at) => at % 2 === 0);
    const down = corners.filter((_, at) => at % 2 === 1);
    const [left, right, above, below] = [Math.min(...across), Math.max(...across), Math.min(...down), Math.max(...down)];
    const line = dashed(picture, above, below);

    const label = document.createElement("label");
    label.className = "reading";
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1000, value: 0 });
    const told = document.createElement("output");
    label.append("Read at ", slider, told);
    picture.closest("figure").insertBefore(label, picture.closest("figure").querySelector("figcaption"));

    function read(share) {
      const x = left + share * (right - left);
      const parts = curves.map(({ name, points }) => {
        const y = points.length && x >= points[0] ? height(points, x) : below;
        return `${name} ${shown((top * (below - y)) / (below - above))} %`;
      });
      for (const end of ["x1", "x2"]) line.setAttribute(end, x);
      line.setAttribute("visibility", "visible");
      told.textContent = ` ${shown(low + share * (high - low))} ${unit}: ${parts.join("; ")}`;
      slider.setAttribute("aria-valuetext", told.textContent.trim());
    }
    slider.addEventListener("input", () => read(slider.value / 1000));
    picture.addEventListener("pointermove", (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
      const share = Math.min(1, Math.max(0, (place.x - left) / (right - left)));
      slider.value = Math.round(1000 * share);
      read(share);
    });
  }
})();
