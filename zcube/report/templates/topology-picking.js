// Boxes, lines and links picked by pointer or key.
// Keyboard: one box is a stop of the Tab key, arrows go on from there.
function rove(number) {
  const nodes = layers.nodes.children;
  for (const node of nodes) node.setAttribute("tabindex", "-1");
  nodes[number].setAttribute("tabindex", "0");
  current = boxes[number].key;
  return nodes[number];
}
view.addEventListener("keydown", (event) => {
  const node = event.target.closest(".node");
  if (!node) return;
  const number = Number(node.dataset.box), box = boxes[number];
  const inRow = boxes.map((_, at) => at).filter((at) => boxes[at].row === box.row);
  const place = inRow.indexOf(number);
  const rowAt = (row) => boxes.map((_, at) => at).filter((at) => boxes[at].row === row).sort((a, b) => Math.abs(boxes[a].x - box.x) - Math.abs(boxes[b].x - box.x))[0];
  const target = {
    ArrowLeft: inRow[place - 1], ArrowRight: inRow[place + 1], Home: inRow[0], End: inRow[inRow.length - 1],
    ArrowUp: rowAt(box.row + 1), ArrowDown: rowAt(box.row - 1),
  }[event.key];
  if (target !== undefined) rove(target).focus();
  else if (event.key === "Enter" || event.key === " ") pickBox(number);
  else if (event.key === "Escape" && box.of) together(box.of);
  else if (!event.key.startsWith("Arrow")) return;
  event.preventDefault();
});
view.addEventListener("click", (event) => {
  const node = event.target.closest(".node"), edge = event.target.closest("[data-edge]");
  if (node) pickBox(Number(node.dataset.box));
  else if (edge) pickEdge(Number(edge.dataset.edge));
});

function pickBox(number) {
  const box = boxes[number];
  if (box.group) {
    fabric.opened.add(box.key);
    picked = { places: box.places, box: null, of: box.key };
    current = `p${box.places[0]}`;
    draw();
    const first = layers.nodes.querySelector('[tabindex="0"]');
    if (first) first.focus({ preventScroll: true });
  } else {
    picked = { places: box.places, box: box.key, of: box.of };
    rove(number);
    colour();
  }
  tell();
}
function pickEdge(key) {
  const edge = edges.find((one) => one.key === key);
  if (edge.cables.length === 1) pickLink(edge.fullest >= 0 ? edge.fullest : 2 * edge.cables[0]);
  else {
    picked = { edge: key, cables: edge.cables, names: [boxes[edge.one].name, boxes[edge.other].name] };
    colour();
    tell();
  }
}
function pickLink(link) {
  const ends = fabric.ends(link).map((node) => fabric.placeOf(node));
  const edge = edges.find((one) => one.cables.includes(link >> 1));
  picked = { link, edge: edge ? edge.key : null, places: ends };
  colour();
  tell();
}
function together(key) {
  fabric.opened.delete(key);
  current = key;
  picked = null;
  draw();
  layers.nodes.querySelector('[tabindex="0"]').focus({ preventScroll: true });
  tell();
}
