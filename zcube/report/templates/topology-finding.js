// Finding by name, and zoom.
// Search by name.
const search = found("find"), status = found("found");
function look() {
  const name = search.value.trim().toLowerCase().replace(/\s+/g, "");
  status.textContent = "";
  if (!name) return;
  const node = (text) => {
    const gpu = /^s(\d+)g(\d+)$/.exec(text);
    if (gpu) return Number(gpu[1]) < fabric.servers && Number(gpu[2]) < fabric.gpus_per_server ? gpu[1] * fabric.gpus_per_server + Number(gpu[2]) : -1;
    const at = fabric.names.findIndex((one) => one.toLowerCase() === text);
    return at < 0 ? -1 : fabric.gpus + at;
  };
  const [one, other] = name.split(/->|>/);
  if (other !== undefined) {
    const [from, to] = [node(one), node(other)];
    for (let link = 0; link < 2 * fabric.cables; link++) {
      const ends = fabric.ends(link);
      if (ends[0] === from && ends[1] === to) return pickLink(link);
    }
  } else {
    const server = /^s(\d+)$/.exec(name), at = node(name);
    const place = server && Number(server[1]) < fabric.servers ? Number(server[1]) : at >= 0 ? fabric.placeOf(at) : -1;
    if (place >= 0) {
      let number = boxes.findIndex((box) => box.places.includes(place));
      if (boxes[number].group) {
        fabric.opened.add(boxes[number].key);
        draw();
        number = boxes.findIndex((box) => box.places.includes(place));
      }
      pickBox(number);
      layers.nodes.children[number].scrollIntoView({ block: "nearest", inline: "center" });
      return undefined;
    }
  }
  status.textContent = `Nothing here is called ${search.value}.`;
  return undefined;
}
search.addEventListener("change", look);
search.addEventListener("keydown", (event) => event.key === "Enter" && look());

// Zoom: buttons, two fingers, or the wheel with Ctrl.
function zoomTo(value) {
  zoom = Math.min(8, Math.max(0.4, value));
  const svg = view.querySelector("svg");
  if (!svg) return;
  svg.style.width = `${100 * zoom}%`;
  svg.style.minWidth = zoom < 1 ? "0" : `${46 * zoom}rem`;
}
for (const button of root.querySelectorAll("[data-zoom]"))
  button.addEventListener("click", () => {
    if (Number(button.dataset.zoom)) zoomTo(zoom * Number(button.dataset.zoom));
    else {
      zoomTo(0.99);
      view.scrollTo(0, 0);
    }
  });
view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoomTo(zoom * Math.exp(-event.deltaY / 300));
}, { passive: false });
const fingers = new Map();
let apart = 0;
const distance = () => {
  const [one, other] = [...fingers.values()];
  return Math.hypot(one[0] - other[0], one[1] - other[1]);
};
view.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size === 2) apart = distance() / zoom;
});
view.addEventListener("pointermove", (event) => {
  if (!fingers.has(event.pointerId)) return;
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size === 2 && apart > 0) zoomTo(distance() / apart);
});
for (const end of ["pointerup", "pointercancel", "pointerleave"]) view.addEventListener(end, (event) => fingers.delete(event.pointerId));
