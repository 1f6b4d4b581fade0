"use strict";
// Draws fabrics, what their links carried and how full they were over time; docs/metrics.md defines every figure.
(async () => {
  const root = document.querySelector("[data-topology]");
  const found = (name) => root.querySelector(`[data-${name}]`);
  const [view, told, slider, chooser, measure] = ["view", "told", "slider", "fabric", "measure"].map(found);
  const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
  const WIDTH = 1200, LEFT = 110, RIGHT = 15, MOST_EDGES = 4000, HOT = 5, LISTED = 10, SMALLEST = 4.4;
  const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

  async function unpacked(value) {
    const bytes = Uint8Array.from(atob(value.deflated), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new ARRAYS[value.type](await new Response(stream).arrayBuffer());
  }
  async function opened(value) {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value;
    if ("deflated" in value) return unpacked(value);
    const entries = Object.entries(value).map(async ([key, inner]) => [key, await opened(inner)]);
    return Object.fromEntries(await Promise.all(entries));
  }

  function made(tag, fields = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(fields)) if (value !== null) element.setAttribute(key, value);
    element.append(...inside);
    return element;
  }
  function drawn(parent, tag, fields = {}, text = "") {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(fields)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  }

  // Numbers: whole ones in full, shares with four digits; the value itself stands in the element.
  const whole = (value) => Math.round(value).toLocaleString("en");
  const share = (value) => `${Number((100 * value).toPrecision(4))} %`;
  const brief = (value) => `${Number((100 * value).toPrecision(3))} %`;
  const seconds = (value) => `${Number(value.toPrecision(6))} s`;
  const usd = (value) => (value === null || Number.isNaN(value) ? "no price" : `USD ${value.toLocaleString("en", { maximumFractionDigits: 2 })}`);
  const figure = (value, text) => made("data", { value: String(value) }, text);

  // The ramp's colours as the page's theme gives them, and in between.
  let ramp = [];
  function readRamp() {
    ramp = [...root.querySelectorAll("[data-ramp]")].map((box) => getComputedStyle(box).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number));
  }
  function heat(value) {
    if (!ramp.length) return "none";
    const at = Math.min(0.99999, Math.max(0, value)) * (ramp.length - 1);
    const low = ramp[Math.floor(at)], high = ramp[Math.floor(at) + 1];
    return `rgb(${low.map((channel, place) => Math.round(channel + (at % 1) * (high[place] - channel))).join(",")})`;
  }

  const fabrics = JSON.parse(document.getElementById("topology-data").textContent).fabrics;
  const ready = new Map();
  async function fabricAt(number) {
    if (!ready.has(number)) ready.set(number, new Fabric(await opened(fabrics[number])));
    return ready.get(number);
  }

  // A fabric with its loads: nodes are GPUs, then switches; places are servers, then switches.
  class Fabric {
    constructor(data) {
      Object.assign(this, data);
      this.servers = this.gpus / this.gpus_per_server;
      this.opened = new Set();
      this.used = new Map();
      if (this.load) this.load.link.forEach((link, at) => this.used.set(link, at));
      // Of places the fullest of the links that leave them; not known where all of these are among those left out.
      this.fullestOut = new Float64Array(this.servers + this.names.length);
      if (this.load)
        this.load.link.forEach((link, at) => {
          const place = this.placeOf(this.ends(link)[0]);
          this.fullestOut[place] = Math.max(this.fullestOut[place], this.load.utilisation[at]);
        });
      this.kept = new Map((this.over_time ? this.over_time.links : []).map((link, at) => [link, at]));
      this.bins = this.over_time ? this.over_time.edges_s.length - 1 : 0;
    }
    nodeName(node) {
      return node >= this.gpus ? this.names[node - this.gpus] : `s${Math.floor(node / this.gpus_per_server)}g${node % this.gpus_per_server}`;
    }
    placeName(place) {
      return place < this.servers ? `s${place}` : this.names[place - this.servers];
    }
    placeOf(node) {
      return node < this.gpus ? Math.floor(node / this.gpus_per_server) : node - this.gpus + this.servers;
    }
    ends(link) {
      const cable = link >> 1;
      return link & 1 ? [this.b[cable], this.a[cable]] : [this.a[cable], this.b[cable]];
    }
    linkName(link) {
      return this.ends(link).map((node) => this.nodeName(node)).join(" > ");
    }
    role(place) {
      const node = place - this.servers + this.gpus;
      return this.roles.find((one) => node >= one.first && node < one.first + one.count);
    }
    // How full a link was in the window or a bin; null where that is not known.
    linkUse(link, bin) {
      if (bin >= 0) return this.kept.has(link) ? this.over_time.link[bin * this.over_time.links.length + this.kept.get(link)] : null;
      if (!this.load) return null;
      if (this.used.has(link)) return this.load.utilisation[this.used.get(link)];
      return this.load.left_out ? null : 0;
    }
    placeUse(place, bin, which) {
      if (bin >= 0) return place < this.servers ? null : this.over_time[which][bin * this.names.length + place - this.servers];
      if (!this.load) return null;
      if (which === "switch_fullest" && place >= this.servers) return this.fullestOut[place] || (this.load.left_out ? null : 0);
      const { out_bytes, out_bps } = this.load.nodes;
      if (!(out_bps[place] > 0)) return 0;
      return (8 * out_bytes[place]) / (out_bps[place] * this.load.length_s);
    }
    // Rows of boxes from below: each the places it stands for and what it is called.
    rowsShown() {
      const rows = [this.blocks.flatMap((runs, block) => this.boxes(`b${block}`, runs))];
      this.rows.forEach((row, number) => {
        rows.push(row.flatMap((runs, group) => this.boxes(`r${number}.${group}`, runs, this.servers - this.gpus)));
      });
      return rows;
    }
    boxes(key, runs, offset = 0) {
      const places = runs.flatMap(([first, count]) => Array.from({ length: count }, (_, at) => first + offset + at));
      if (places.length === 1) return [{ key, places, name: this.placeName(places[0]) }];
      if (this.opened.has(key)) return places.map((place) => ({ key: `p${place}`, places: [place], name: this.placeName(place), of: key }));
      const names = [places[0], places[places.length - 1]].map((place) => this.placeName(place));
      return [{ key, places, name: `${names[0]} to ${names[1]}`, group: true }];
    }
  }

  let gap = 0, top = 40, fabric, bin = -1, picked = null, boxes = [], edges = [], current = null, zoom = 1;

  // Boxes and lines.
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

  // What is told of what is picked.
  function listed(rows) {
    const list = made("dl");
    for (const [name, value] of rows.filter(([, value]) => value !== null)) list.append(made("dt", {}, name), made("dd", {}, value));
    return list;
  }
  function linkButtons(links) {
    const list = made("ul"), names = links.map((link) => fabric.linkName(link));
    for (const [at, link] of links.entries()) {
      const use = fabric.linkUse(link, bin), parallel = names.indexOf(names[at]) !== names.lastIndexOf(names[at]);
      const button = made("button", { type: "button", "data-link": link }, made("span", {}, parallel ? `${names[at]}, link ${link}` : names[at]));
      if (fabric.load) button.append(made("span", {}, use === null ? "-" : share(use)));
      button.addEventListener("click", () => pickLink(link));
      list.append(made("li", {}, button));
    }
    if (fabric.load && links.some((link) => fabric.linkUse(link, bin) === null)) list.append(made("li", { class: "soft" }, `-: ${unknown()}`));
    return list;
  }
  const byUse = (links) =>
    links
      .map((link) => [fabric.linkUse(link, bin) ?? -1, fabric.linkUse(link, -1) ?? -1, link])
      .sort((one, other) => other[0] - one[0] || other[1] - one[1] || one[2] - other[2])
      .map(([, , link]) => link);
  // Which time the loads of a list are of, and why some have none.
  const moment = () => (bin < 0 ? "whole window" : `at the slider, ${clock.textContent}`);
  const unknown = () => (bin < 0 ? "not among the fullest links, which alone are on this page" : `not among the ${whole(fabric.over_time.links.length)} fullest links kept by time`);
  function binRow(value) {
    if (bin < 0) return ["At the slider", null];
    return ["At the slider", value === null ? unknown() : figure(value, share(value))];
  }
  function loadRows(link) {
    if (!fabric.load) return [];
    const at = fabric.used.get(link);
    if (at === undefined && fabric.load.left_out) return [["Load", `at most ${share(fabric.load.fullest_left_out)}; not on this page`]];
    const [use, bytes, peak] = at === undefined ? [0, 0, 0] : ["utilisation", "bytes", "peak_flows"].map((key) => fabric.load[key][at]);
    return [
      ["Load, of line rate, whole window", made("span", { "data-figure": "utilisation" }, figure(use, share(use)))],
      ["Carried, bytes, whole window", made("span", { "data-figure": "bytes" }, figure(bytes, whole(bytes)))],
      ["Most flows at once, whole window", made("span", { "data-figure": "peak_flows" }, figure(peak, whole(peak)))],
      binRow(fabric.linkUse(link, bin)),
    ];
  }
  const priced = (cables) => {
    if (!fabric.cable_usd) return [];
    const sum = cables.reduce((total, cable) => total + fabric.cable_usd[cable], 0);
    return [[cables.length > 1 ? "Modules of the cables" : "Its modules", figure(sum, usd(sum))]];
  };
  const rated = (cables) => [...new Set(cables.map((cable) => fabric.rates_gbps[fabric.rate[cable]]))].map((rate) => `${rate} Gb/s`).join(", ");
  const failed = (cables) => {
    const count = cables.filter((cable) => fabric.down[cable]).length;
    return count ? [["Failed cables", whole(count)]] : [];
  };

  function tellLink(link) {
    const cable = link >> 1, back = link ^ 1;
    const other = made("button", { type: "button" }, `The other way: ${fabric.linkName(back)}`);
    other.addEventListener("click", () => pickLink(back));
    told.append(made("h3", {}, fabric.linkName(link)));
    told.append(listed([["Link number", figure(link, whole(link))], ...loadRows(link), ["Cable", rated([cable])], ...failed([cable]), ...priced([cable])]), other);
  }
  function tellEdge({ cables, names }) {
    const links = byUse(cables.flatMap((cable) => [2 * cable, 2 * cable + 1]));
    told.append(made("h3", {}, `${names[0]} and ${names[1]}`));
    told.append(listed([["Cables", `${whole(cables.length)} of ${rated(cables)}`], ...failed(cables), ...priced(cables)]));
    told.append(made("p", { class: "soft" }, fabric.load ? `Its fullest links, ${moment()}:` : "Its links:"), linkButtons(links.slice(0, LISTED)));
  }
  function tellPlaces({ places, of }) {
    const own = new Set(places), out = [], cables = [];
    for (let cable = 0; cable < fabric.cables; cable++) {
      const [one, other] = [fabric.a[cable], fabric.b[cable]].map((node) => own.has(fabric.placeOf(node)));
      if (one || other) cables.push(cable);
      if (one) out.push(2 * cable);
      if (other) out.push(2 * cable + 1);
    }
    const first = places[0], isSwitch = first >= fabric.servers, sum = (array) => places.reduce((total, place) => total + array[place], 0);
    const rows = [];
    if (isSwitch) {
      const role = fabric.role(first);
      rows.push(["Switch", role.model], ["Price", role.usd === null ? (fabric.price_book ? "no price" : null) : figure(role.usd * places.length, usd(role.usd * places.length))]);
    } else rows.push(["GPUs", whole(places.length * fabric.gpus_per_server)]);
    if (fabric.load) {
      const nodes = fabric.load.nodes;
      for (const [way, name] of [["out", "out"], ["in", "in"]]) {
        const bytes = sum(nodes[`${way}_bytes`]), bps = sum(nodes[`${way}_bps`]);
        rows.push([`Carried ${name}, bytes, whole window`, made("span", { "data-figure": `${way}_bytes` }, figure(bytes, whole(bytes)))]);
        const use = bps > 0 ? (8 * bytes) / (bps * fabric.load.length_s) : 0;
        rows.push([`Load ${name}, of line rate, whole window`, made("span", { "data-figure": `${way}_utilisation` }, figure(use, share(use)))]);
      }
      const peak = Math.max(0, ...out.map((link) => (fabric.used.has(link) ? fabric.load.peak_flows[fabric.used.get(link)] : 0)));
      rows.push(["Most flows at once on a link, whole window", figure(peak, whole(peak))]);
    }
    if (bin >= 0 && isSwitch && places.length === 1) {
      const [all, one] = ["switch", "switch_fullest"].map((which) => fabric.placeUse(first, bin, which));
      rows.push(["At the slider, all links", made("span", { "data-figure": "switch_bin" }, figure(all, share(all)))], ["At the slider, fullest link", figure(one, share(one))]);
    }
    rows.push(["Cables", `${whole(cables.length)} of ${rated(cables)}`], ...failed(cables), ...priced(cables));
    const name = places.length > 1 ? `${fabric.placeName(first)} to ${fabric.placeName(places[places.length - 1])}` : fabric.placeName(first);
    told.append(made("h3", {}, name), listed(rows));
    if (of) {
      const close = made("button", { type: "button", "data-together": "" }, "Put its group together again");
      close.addEventListener("click", () => together(of));
      told.append(close);
    }
    told.append(made("p", { class: "soft" }, fabric.load ? `Fullest links that leave, ${moment()}:` : "Links that leave:"), linkButtons(byUse(out).slice(0, LISTED)));
  }
  function tell() {
    told.replaceChildren();
    if (picked && picked.link !== undefined) tellLink(picked.link);
    else if (picked && picked.cables) tellEdge(picked);
    else if (picked) tellPlaces(picked);
    else {
      told.append(made("h3", {}, fabric.name));
      told.append(listed([["Family", fabric.family], ["GPUs", whole(fabric.gpus)], ["Switches", whole(fabric.names.length)], ["Cables", whole(fabric.cables)]]));
      const links = fabric.load ? [...fabric.load.link] : [];
      if (links.length) told.append(made("p", { class: "soft" }, `Fullest links, ${moment()}:`), linkButtons(byUse(links).filter((link) => fabric.linkUse(link, bin) > 0).slice(0, LISTED)));
      else told.append(made("p", {}, fabric.load ? "No link between servers and switches carried anything." : "Pick a box or a line."));
    }
    if (fabric.price_book) told.append(made("p", { class: "soft" }, `Price book ${fabric.price_book}, optics rule ${fabric.optics_rule}.`));
  }

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

  // One time for everything.
  const clock = found("time");
  function sayTime() {
    if (!slider) return;
    const edges_s = fabric.over_time && fabric.over_time.edges_s;
    const text = !edges_s ? "no load over time was kept" : bin < 0 ? `the whole window, ${seconds(edges_s[0])} to ${seconds(edges_s[fabric.bins])}` : `${seconds(edges_s[bin])} to ${seconds(edges_s[bin + 1])}`;
    clock.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    slider.disabled = !edges_s;
  }
  let waiting = false;
  function slide() {
    bin = Number(slider.value);
    sayTime();
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      colour();
      paint();
      tell();
    });
  }
  if (slider) slider.addEventListener("input", slide);
  if (measure)
    measure.addEventListener("change", () => {
      colour();
      strips();
      sayOnPaper();
    });

  // What is chosen, where the choices themselves are not printed.
  function sayOnPaper() {
    const shown = measure ? `; switches show ${measure.selectedOptions[0].textContent}` : "";
    found("paper").textContent = `${fabric.name}${shown}.`;
  }

  async function choose(number) {
    fabric = await fabricAt(number);
    [bin, picked, current] = [-1, null, null];
    if (slider) {
      slider.max = String(Math.max(0, fabric.bins - 1));
      slider.value = "-1";
    }
    sayTime();
    draw();
    strips();
    tell();
    sayOnPaper();
    root.dataset.shown = String(number);
  }
  if (chooser) chooser.addEventListener("change", () => choose(Number(chooser.value)));

  function repaint() {
    readRamp();
    colour();
    paint();
  }
  root.hidden = false;
  document.querySelector("[data-topology-off]").hidden = true;
  readRamp();
  await choose(0);
  for (const asked of ["(prefers-color-scheme: dark)", "print"]) matchMedia(asked).addEventListener("change", repaint);
  for (const turn of ["beforeprint", "afterprint"]) addEventListener(turn, repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
