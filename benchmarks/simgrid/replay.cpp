// Replays flows on explicit routes with SimGrid's flow-level model: replay PATHS.csv FLOWS.csv FINISH.csv [Full|Lazy]
//
// PATHS.csv has the columns of `zcube replay --paths-out` (flow,hop,from,to,link,capacity_bps[,subflow,share]) in flow and hop
// order, FLOWS.csv the columns src,dst,bytes,start_s (flow i is row i). FINISH.csv gets the columns flow,finish_s.
//
// What SimGrid is asked to do, and no more:
// * one SHARED link per directed link, of its capacity and without delay; under CM02 a delay enters the share of a flow, so
//   only networks without delay can be compared;
// * one full zone in which only those pairs of hosts have a route that some flow uses, so a route is looked up in O(1);
// * one actor that posts each flow as a one-sided communication at its start and then waits for all of them: no actor,
//   mailbox or context switch between actors per flow;
// * network model CM02 with its corrections for bandwidth, latency, window and reverse traffic off. The last argument is
//   SimGrid's setting network/optim: Lazy re-solves only what has changed and is its default, Full re-solves all.
// A SimGrid zone has one route per pair of hosts: flows of one pair must take one path, and a flow must take one only.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <simgrid/s4u.hpp>
#include <xbt/log.h>

namespace sg4 = simgrid::s4u;

struct Flow {
  long source = 0, target = 0;
  double bytes = 0, start_s = 0;
  std::vector<long> links;
};

struct Table {
  std::ifstream file;
  std::string name, line;
  std::vector<std::string> columns;
  std::vector<const char*> fields;
  long row = 0;

  explicit Table(const std::string& path) : file(path), name(path)
  {
    if (not file || not std::getline(file, line))
      throw std::runtime_error(path + ": cannot be read");
    std::stringstream header(line);
    for (std::string column; std::getline(header, column, ',');)
      columns.push_back(column);
  }
  size_t column(const std::string& wanted) const
  {
    auto found = std::find(columns.begin(), columns.end(), wanted);
    if (found == columns.end())
      throw std::runtime_error(name + ": no column " + wanted);
    return found - columns.begin();
  }
  bool next()
  {
    if (not std::getline(file, line))
      return false;
    fields.assign(1, line.c_str());
    for (char& letter : line)
      if (letter == ',') {
        letter = 0;
        fields.push_back(&letter + 1);
      }
    if (fields.size() < columns.size())
      throw std::runtime_error(name + ": line " + std::to_string(row + 2) + " is short");
    ++row;
    return true;
  }
};

static std::vector<Flow> read_flows(const std::string& path)
{
  std::vector<Flow> flows;
  Table table(path);
  const size_t src = table.column("src"), dst = table.column("dst");
  const size_t bytes = table.column("bytes"), start = table.column("start_s");
  while (table.next()) {
    flows.emplace_back();
    flows.back().source  = std::atol(table.fields[src]);
    flows.back().target  = std::atol(table.fields[dst]);
    flows.back().bytes   = std::atof(table.fields[bytes]);
    flows.back().start_s = std::atof(table.fields[start]);
    if (flows.back().bytes != std::floor(flows.back().bytes) || flows.back().bytes < 1)
      throw std::runtime_error(path + ": SimGrid's communications have a whole number of bytes");
  }
  return flows;
}

static std::map<long, double> read_paths(const std::string& path, std::vector<Flow>& flows)
{
  std::map<long, double> capacity_bps;
  Table table(path);
  const size_t flow = table.column("flow"), link = table.column("link"), capacity = table.column("capacity_bps");
  const bool split   = std::find(table.columns.begin(), table.columns.end(), "share") != table.columns.end();
  const size_t share = split ? table.column("share") : 0;
  while (table.next()) {
    if (split && std::atof(table.fields[share]) != 1.0)
      throw std::runtime_error(path + ": a flow is split over paths");
    const long here = std::atol(table.fields[link]);
    flows.at(std::atol(table.fields[flow])).links.push_back(here);
    capacity_bps[here] = std::atof(table.fields[capacity]);
  }
  return capacity_bps;
}

struct Ends {
  sg4::Host *source, *target;
};

static std::vector<Ends> build(const std::vector<Flow>& flows, const std::map<long, double>& capacity_bps)
{
  auto* zone = sg4::create_full_zone("fabric");
  std::unordered_map<long, sg4::Link*> links;
  for (const auto& [number, bps] : capacity_bps)
    links[number] = zone->create_link("l" + std::to_string(number), bps / 8)->set_latency(0.0)->seal();
  std::map<long, sg4::Host*> hosts;
  for (const auto& flow : flows)
    for (long end : {flow.source, flow.target})
      if (not hosts.count(end))
        hosts[end] = zone->create_host("h" + std::to_string(end), 1e9)->seal();
  std::map<std::pair<long, long>, const std::vector<long>*> routed;
  std::vector<Ends> ends;
  for (const auto& flow : flows) {
    ends.push_back({hosts[flow.source], hosts[flow.target]});
    auto [seen, fresh] = routed.emplace(std::make_pair(flow.source, flow.target), &flow.links);
    if (not fresh) {
      if (*seen->second != flow.links)
        throw std::runtime_error("two flows of one pair take different paths");
      continue;
    }
    std::vector<sg4::LinkInRoute> route;
    for (long number : flow.links)
      route.emplace_back(links.at(number));
    zone->add_route(ends.back().source->get_netpoint(), ends.back().target->get_netpoint(), nullptr, nullptr, route, false);
  }
  zone->seal();
  return ends;
}

static void run(const std::vector<Flow>& flows, const std::vector<Ends>& ends, std::vector<double>& finish_s)
{
  std::vector<size_t> order(flows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return flows[a].start_s < flows[b].start_s; });
  std::vector<sg4::CommPtr> comms(flows.size());
  for (size_t i : order) {
    if (flows[i].start_s > sg4::Engine::get_clock())
      sg4::this_actor::sleep_until(flows[i].start_s);
    comms[i] = sg4::Comm::sendto_async(ends[i].source, ends[i].target, static_cast<uint64_t>(flows[i].bytes));
  }
  for (size_t i : order) {
    comms[i]->wait();
    finish_s[i] = comms[i]->get_finish_time();
    comms[i].reset();
  }
}

int main(int argc, char** argv)
{
  xbt_log_control_set("root.thresh:warning"); // a line per setting otherwise
  sg4::Engine engine(&argc, argv);
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: replay PATHS.csv FLOWS.csv FINISH.csv [Full|Lazy]\n");
    return 2;
  }
  for (const char* setting : {"network/model:CM02", "network/bandwidth-factor:1", "network/latency-factor:1",
                              "network/weight-S:0", "network/TCP-gamma:0", "network/crosstraffic:0", "network/loopback-lat:0",
                              "maxmin/precision:1e-9", "surf/precision:1e-12"})
    sg4::Engine::set_config(setting);
  sg4::Engine::set_config(std::string("network/optim:") + (argc == 5 ? argv[4] : "Lazy"));
  try {
    auto flows               = read_flows(argv[2]);
    const auto capacity_bps  = read_paths(argv[1], flows);
    const auto ends          = build(flows, capacity_bps);
    std::vector<double> finish_s(flows.size());
    sg4::Actor::create("sender", ends.at(0).source, [&]() { run(flows, ends, finish_s); });
    engine.run();
    std::FILE* out = std::fopen(argv[3], "w");
    if (not out)
      throw std::runtime_error(std::string(argv[3]) + ": cannot be written");
    std::fprintf(out, "flow,finish_s\n");
    for (size_t i = 0; i < finish_s.size(); ++i)
      std::fprintf(out, "%zu,%.17g\n", i, finish_s[i]);
    return std::fclose(out);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "replay: %s\n", fault.what());
    return 1;
  }
}
