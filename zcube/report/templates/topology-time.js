// One time for everything, and the fabric that is chosen; begins the whole.
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
