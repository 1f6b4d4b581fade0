// A fabric with its loads, and where one comes from; docs/metrics.md defines every figure.
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
