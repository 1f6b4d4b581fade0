// Load of switches over time.
// The strips: a row per switch, time from left to right.
const body = found("strips"), MOST_STRIPS = 128;
function strips() {
  if (!body) return;
  body.replaceChildren();
  const over = fabric.over_time;
  found("plain").hidden = !over;
  if (!over) return;
  const window = (at) => fabric.placeUse(fabric.servers + at, -1, measured());
  let shown = fabric.names.map((_, at) => at);
  if (shown.length > MOST_STRIPS) {
    const kept = new Set(shown.slice().sort((one, other) => window(other) - window(one)).slice(0, MOST_STRIPS));
    shown = shown.filter((at) => kept.has(at));
  }
  found("strips-note").textContent = shown.length < fabric.names.length ? `The ${shown.length} fullest of ${whole(fabric.names.length)} switches.` : "";
  for (const at of shown) {
    const canvas = made("canvas", { "aria-hidden": "true", "data-switch": at });
    canvas.width = 480;
    canvas.height = 1;
    const mean = window(at);
    body.append(made("tr", {}, made("th", { scope: "row" }, fabric.names[at]), made("td", { class: "strip" }, canvas),
      made("td", { class: "number further" }, mean === null ? "-" : figure(mean, (100 * mean).toFixed(1))), made("td", { class: "number", "data-now": at })));
  }
  found("begin").textContent = seconds(over.edges_s[0]);
  found("end").textContent = seconds(over.edges_s[fabric.bins]);
  paint();
}
const placeOfTime = (edge) => {
  const edges_s = fabric.over_time.edges_s, first = edges_s[0];
  return (edges_s[edge] - first) / (edges_s[fabric.bins] - first);
};
function paint() {
  if (!body || !fabric.over_time) return;
  const values = fabric.over_time[measured()], count = fabric.names.length, ink = getComputedStyle(root).color;
  const paper = getComputedStyle(document.body).backgroundColor;
  for (const canvas of body.querySelectorAll("canvas")) {
    const pen = canvas.getContext("2d"), at = Number(canvas.dataset.switch);
    for (let one = 0; one < fabric.bins; one++) {
      const from = Math.floor(480 * placeOfTime(one)), to = Math.ceil(480 * placeOfTime(one + 1));
      pen.fillStyle = heat(values[one * count + at]);
      pen.fillRect(from, 0, to - from, 1);
    }
    if (bin >= 0) {
      // Ink between paper, so that it is seen on every shade.
      const from = Math.max(2, Math.min(476, Math.floor(480 * placeOfTime(bin))));
      pen.fillStyle = paper;
      pen.fillRect(from - 2, 0, 6, 1);
      pen.fillStyle = ink;
      pen.fillRect(from, 0, 2, 1);
    }
  }
  for (const cell of body.querySelectorAll("[data-now]")) {
    const value = bin < 0 ? null : values[bin * count + Number(cell.dataset.now)];
    cell.replaceChildren(value === null ? "-" : figure(value, (100 * value).toFixed(1)));
  }
}
if (body)
  body.addEventListener("click", (event) => {
    if (event.target.tagName !== "CANVAS") return;
    const bounds = event.target.getBoundingClientRect(), at = (event.clientX - bounds.left) / bounds.width;
    let one = 0;
    while (one < fabric.bins - 1 && placeOfTime(one + 1) <= at) one++;
    slider.value = String(one);
    slide();
  });
