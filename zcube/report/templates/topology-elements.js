// What the parts of the topology share: the page's places for it, packed arrays, elements, numbers, the ramp of loads.
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
