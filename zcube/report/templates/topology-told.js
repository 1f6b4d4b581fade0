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
