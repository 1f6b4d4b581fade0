// What handing tiles from GPU to GPU costs inside running kernels. Plain peer access over NVLink, no multicast.
//
//   tiles GPUS SAMPLES [NCCL_LIBRARY]
//
// One line of JSON a measurement on standard output; times in microseconds. Of one GPU: what it does alone. Exit 3: fewer GPUs can
// be used, or they do not reach each other's memory.
#include "all_reduces.cuh"
#include "host.cuh"
#include "index_list.cuh"
#include "launches.cuh"
#include "nccl.cuh"
#include "overlaps.cuh"
#include "pushes.cuh"
#include "selection.cuh"
#include "signals.cuh"
#include "stages.cuh"

int main(int count, char** arguments) {
    const int gpus = count > 1 ? std::atoi(arguments[1]) : 0, samples = count > 2 ? std::atoi(arguments[2]) : 0;
    if (gpus < 1 || gpus > MAX_GPUS || samples < 10 || samples > 10000) {
        std::fprintf(stderr, "usage: tiles GPUS(1-8) SAMPLES(10-10000) [NCCL_LIBRARY]\n");
        return 2;
    }
    int usable = 0;
    if (cudaGetDeviceCount(&usable) != cudaSuccess || usable < gpus) {
        std::fprintf(stderr, "usable-gpus %d\n", usable);
        return 3;
    }
    Node node;
    if (!open_node(node, gpus, samples)) return 3;
    warm_up(node);
    std::fprintf(stderr, "signals\n");
    measure_signals(node);
    if (gpus > 1) {
        std::fprintf(stderr, "pushes\n");
        measure_pushes(node);
    }
    std::fprintf(stderr, "launches and barriers\n");
    measure_launches(node);
    std::fprintf(stderr, "stages\n");
    measure_stages(node);
    std::fprintf(stderr, "selections\n");
    measure_selections(node);
    std::fprintf(stderr, "overlap\n");
    measure_overlaps(node);
    if (gpus > 1) {
        std::fprintf(stderr, "index lists\n");
        measure_index_lists(node);
        std::fprintf(stderr, "all-reduces\n");
        measure_all_reduces(node, count > 3 ? arguments[3] : nullptr);
    }
    return *node.faults.timed_out ? 1 : 0;
}
