// Boxes and lines: where they stand, which are drawn, and their colours.
let gap = 0, top = 40, fabric, bin = -1, picked = null, boxes = [], edges = [], current = null, zoom = 1;

function layOut() {
  const rows = fabric.rowsShown();
  boxes = [];
  gap = rows.length < 4 ? 250 : 190;
  top = 40;
  rows.forEach((row, number) => {
    const step = (WIDTH - LEFT - RIGHT) / row.length;
    row.forEach((box, at) => {
      const y = top + (rows.length - 1 - number) * gap;
      boxes.push({ ...box, row: number, x: LEFT + step * (at + 0.5), y, width: Math.min(step * 0.86, 110), height: number ? 30 : 36 });
    });
  });
  const box = new Int32Array(fabric.servers + fabric.names.length);
  boxes.forEach((one, number) => one.places.forEach((place) => (box[place] = number)));
  const byPair = new Map();
  for (let cable = 0; cable < fabric.cables; cable++) {
    const one = box[fabric.placeOf(fabric.a[cable])], other = box[fabric.placeOf(fabric.b[cable])];
    if (one === other) continue;
    const key = Math.min(one, other) * boxes.length + Math.max(one, other);
    if (!byPair.has(key)) byPair.set(key, { key, one: Math.min(one, other), other: Math.max(one, other), cables: [] });
    byPair.get(key).cables.push(cable);
  }
  edges = [...byPair.values()];
  // Lines between boxes of the uppermost row need room above it.
  if (!edges.some((edge) => boxes[edge.one].row === rows.length - 1 && boxes[edge.other].row === rows.length - 1)) return;
  top = 110;
  for (const one of boxes) one.y += top - 40;
}
function fullest(edge) {
  let link = -1, use = null;
  for (const cable of edge.cables)
    for (const one of [2 * cable, 2 * cable + 1]) {
      const value = fabric.linkUse(one, bin);
      if (value !== null && (use === null || value > use)) [use, link] = [value, one];
    }
  return [use, link];
}

const path = (edge) => {
  const [low, high] = [boxes[edge.one], boxes[edge.other]];
  if (low.row === high.row) {
    const lift = Math.min(130, 18 + Math.abs(high.x - low.x) / 14);
    return `M${low.x},${low.y}C${low.x},${low.y - lift} ${high.x},${high.y - lift} ${high.x},${high.y}`;
  }
  return `M${low.x},${low.y}L${high.x},${high.y + high.height}`;
};

// Of more lines than can be told apart every pair of rows keeps its share: the fullest, and of those without load ones far apart.
function linesKept() {
  const pairs = new Map();
  for (const edge of edges) {
    const rows = `${boxes[edge.one].row} ${boxes[edge.other].row}`;
    if (!pairs.has(rows)) pairs.set(rows, []);
    pairs.get(rows).push(edge);
  }
  let left = MOST_EDGES;
  return [...pairs.values()].sort((one, other) => one.length - other.length).flatMap((lines, at) => {
    const count = Math.min(lines.length, Math.floor(left / (pairs.size - at)));
    left -= count;
    if (count === lines.length) return lines;
    const loaded = lines.filter((edge) => edge.use > 0).sort((one, other) => other.use - one.use).slice(0, count);
    const rest = lines.filter((edge) => !(edge.use > 0)), more = count - loaded.length;
    return [...loaded, ...Array.from({ length: more }, (_, place) => rest[Math.floor((place * rest.length) / more)])];
  });
}

function drawEdges(layer) {
  layer.replaceChildren();
  for (const edge of edges) [edge.use, edge.fullest] = fullest(edge);
  const order = linesKept().sort((one, other) => (one.use ?? -1) - (other.use ?? -1));
  found("lines").textContent = order.length < edges.length ? `${whole(order.length)} of ${whole(edges.length)} lines are drawn.` : "";
  const hot = new Set(order.slice(-HOT).filter((edge) => edge.use > 0));
  for (const edge of order) {
    const down = edge.cables.every((cable) => fabric.down[cable]);
    const line = { d: path(edge), class: `edge${down ? " down" : ""}${picked && picked.edge === edge.key ? " picked" : ""}` };
    const width = 0.8 + 5 * Math.min(1, edge.use ?? 0) + (hot.has(edge) ? 1.2 : 0);
    if (hot.has(edge)) drawn(layer, "path", { d: line.d, class: "edge casing" }).style.strokeWidth = String(width + 2);
    const element = drawn(layer, "path", line);
    if (edge.use > 0 && !down) {
      element.style.stroke = heat(edge.use);
      element.style.strokeWidth = String(width);
    }
  }
  for (const edge of order) {
    const hit = drawn(layer, "path", { d: path(edge), class: "hit", "data-edge": edge.key });
    drawn(hit, "title", {}, `${boxes[edge.one].name} and ${boxes[edge.other].name}: ${edge.cables.length} cables${edge.use === null ? "" : `, fullest ${share(edge.use)}`}`);
  }
  const written = [];
  for (const edge of order.slice(-HOT).reverse()) {
    if (!(edge.use > 0)) continue;
    const [low, high] = [boxes[edge.one], boxes[edge.other]];
    const at = low.row === high.row ? [(low.x + high.x) / 2, low.y - 30] : [low.x + 0.6 * (high.x - low.x), low.y + 0.6 * (high.y + high.height - low.y)];
    while (written.some((other) => Math.abs(other[0] - at[0]) < 46 && Math.abs(other[1] - at[1]) < 12)) at[1] -= 12;
    written.push(at);
    drawn(layer, "text", { x: at[0], y: at[1], class: "hot", "text-anchor": "middle" }, brief(edge.use));
  }
}

function label(box) {
  const use = box.places.map((place) => fabric.placeUse(place, bin, measured())).filter((value) => value !== null);
  const full = use.length ? `, ${share(Math.max(...use))} of line rate${box.places.length > 1 ? " at most" : ""}` : "";
  const many = box.row ? "switches" : "servers";
  return `${box.name}${box.group ? `, ${box.places.length} ${many}, put together` : ""}${full}`;
}
const measured = () => (measure ? measure.value : "switch");

let layers;
function draw() {
  if (fabric.too_many) {
    view.replaceChildren(made("p", {}, fabric.too_many));
    return;
  }
  layOut();
  const height = 50 + top + fabric.rows.length * gap;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", `${fabric.name}: ${whole(fabric.gpus)} GPUs, ${whole(fabric.names.length)} switches`);
  svg.style.width = `${100 * zoom}%`;
  svg.style.minWidth = `${46 * zoom}rem`;
  layers = { edges: drawn(svg, "g"), nodes: drawn(svg, "g") };
  const rows = [...new Set(boxes.map((box) => box.row))];
  for (const row of rows) {
    const first = boxes.find((box) => box.row === row);
    const roles = row ? [...new Set(boxes.filter((box) => box.row === row).map((box) => fabric.role(box.places[0]).name))] : ["servers"];
    drawn(svg, "text", { x: 4, y: first.y + 14, class: "role" }, roles.join(", "));
    const count = boxes.filter((box) => box.row === row).reduce((sum, box) => sum + box.places.length, 0);
    drawn(svg, "text", { x: 4, y: first.y + 28, class: "under" }, row ? `${whole(count)} switches` : `${whole(count)} x ${fabric.gpus_per_server} GPUs`);
  }
  boxes.forEach((box, number) => {
    const node = drawn(layers.nodes, "g", { class: `node${box.group ? " group" : ""}`, role: "button", tabindex: "-1", "data-box": number });
    if (box.group) node.setAttribute("aria-expanded", "false");
    drawn(node, "rect", { x: box.x - box.width / 2, y: box.y, width: box.width, height: box.height, rx: 3 });
    const longest = Math.max(...writing(box).map((line) => line.length));
    if (1.1 * box.width > SMALLEST * longest) drawn(node, "text", { "text-anchor": "middle" });
  });
  view.replaceChildren(svg);
  colour();
  const start = boxes.findIndex((box) => box.key === current);
  rove(start < 0 ? boxes.findIndex((box) => box.row > 0) : start);
}

function colour() {
  if (fabric.too_many) return;
  drawEdges(layers.edges);
  layers.nodes.querySelectorAll(".node").forEach((node, number) => {
    const box = boxes[number], rect = node.firstChild, text = node.querySelector("text");
    const use = box.places.map((place) => fabric.placeUse(place, bin, measured())).filter((value) => value !== null);
    const most = use.length ? Math.max(...use) : null;
    rect.style.fill = most === null ? "var(--paper)" : heat(most);
    node.setAttribute("aria-label", label(box));
    node.classList.toggle("picked", Boolean(picked) && picked.box === box.key);
    if (!text) return;
    const lines = writing(box);
    text.replaceChildren();
    lines.forEach((line, at) => {
      const y = box.y + box.height / 2 + 4 + (at - (lines.length - 1) / 2) * 12;
      drawn(text, "tspan", { x: box.x, y }, line);
    });
    text.style.fill = most === null ? "var(--ink)" : inkOn(heat(most));
    text.style.fontSize = `${Math.max(7, Math.min(11, box.width / (0.62 * Math.max(...lines.map((line) => line.length)))))}px`;
  });
}
// The name, over two lines where several stand together, or its number where it does not fit in the smallest letters.
function writing(box) {
  if (box.width > 5.6 * box.name.length) return [box.name];
  const names = box.name.split(" to ");
  return names.every((name) => box.width > SMALLEST * name.length) ? names : names.map((name) => /\d*$/.exec(name)[0] || name);
}
function inkOn(background) {
  const [red, green, blue] = background.match(/[\d.]+/g).map((channel) => (channel / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.22 ? "#111111" : "#fdfdfd";
}
