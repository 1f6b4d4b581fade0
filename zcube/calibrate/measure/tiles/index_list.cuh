// The 2,048 chosen positions go from one GPU to its peers; workers gather a row for each, when all are there or tile by tile.
#pragma once
#include "host.cuh"
#include "pushes.cuh"

constexpr int ENTRIES = 2048;
constexpr int ENTRY_TILE = 32;
constexpr int ROW_WORDS = 72;         // 16-byte words of a row: 1,152 bytes, a latent of GLM-5.1 in bf16
constexpr size_t ROWS = 32768;

__device__ __forceinline__ uint32_t chosen(uint32_t round, int entry) {
    return (round * 40503u + uint32_t(entry) * 2654435761u) % ROWS;
}

// GPU 0 sends entries with their flag, word by word; the others' blocks gather rows and answer. By tiles: a block begins with a
// tile of 32 entries as soon as these are there; else it waits for the whole list first.
template <bool by_tile>
__global__ void __launch_bounds__(THREADS) index_lists(Peers peers, int gpus, int gpu, int samples, int trips,
                                                       uint64_t* times, Faults faults) {
    __shared__ bool going;
    __shared__ uint32_t rows[ENTRIES];
    // One block sends: two would write each other's rounds over.
    if (gpu == 0 && blockIdx.x > 0) return;
    if (threadIdx.x == 0) going = true;
    __syncthreads();
    const uint4* list = reinterpret_cast<const uint4*>(peers.base[gpu] + DATA);
    const uint4* table = reinterpret_cast<const uint4*>(peers.base[gpu] + OWN);
    uint32_t round = 0, made = 0;
    for (int sample = 0; sample < samples; ++sample) {
        if (gpu == 0 && threadIdx.x == 0 && blockIdx.x == 0) times[2 * sample] = now_ns();
        for (int trip = 0; trip < trips; ++trip) {
            ++round;
            if (gpu == 0) {
                for (int pair = threadIdx.x; pair < ENTRIES / 2; pair += blockDim.x)
                    for (int peer = 1; peer < gpus; ++peer)
                        store_flagged(reinterpret_cast<uint4*>(peers.base[peer] + DATA) + pair, chosen(round, 2 * pair),
                                      chosen(round, 2 * pair + 1), round);
                // Every block of every peer answers.
                const int answers = (gpus - 1) * int(gridDim.x);
                for (int i = threadIdx.x; i < answers; i += blockDim.x) {
                    const uint32_t* flag = block_flag(peers.base[0], 1 + i / gridDim.x, i % gridDim.x);
                    if (!wait_until([&] { return load_acquire_sys(flag) == round; }, faults)) going = false;
                }
                __syncthreads();
                if (!going) return;
                continue;
            }
            const auto take = [&](int pair) {
                uint4 seen{};
                if (!wait_until([&] { return has_flags(seen = load_flagged(list + pair), round); }, faults)) going = false;
                rows[2 * pair] = seen.x;
                rows[2 * pair + 1] = seen.z;
                if (seen.x != chosen(round, 2 * pair) || seen.z != chosen(round, 2 * pair + 1)) *faults.wrong = 1;
            };
            if (!by_tile) {
                for (int pair = threadIdx.x; pair < ENTRIES / 2; pair += blockDim.x) take(pair);
                __syncthreads();
            }
            for (int tile = blockIdx.x; tile < ENTRIES / ENTRY_TILE; tile += gridDim.x) {
                if (by_tile) {
                    if (threadIdx.x < ENTRY_TILE / 2) take(tile * ENTRY_TILE / 2 + threadIdx.x);
                    __syncthreads();
                }
                if (!going) return;
                for (int i = threadIdx.x; i < ENTRY_TILE * ROW_WORDS; i += blockDim.x) {
                    const size_t row = rows[tile * ENTRY_TILE + i / ROW_WORDS] % ROWS;
                    made += __ldcg(table + row * ROW_WORDS + i % ROW_WORDS).x;
                }
            }
            __syncthreads();
            if (!going) return;
            if (threadIdx.x == 0) store_release_sys(block_flag(peers.base[0], gpu, blockIdx.x), round);
        }
        if (gpu == 0 && threadIdx.x == 0 && blockIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
    if (made == 0xdeadbeefu) times[0] = 0;
}

template <bool by_tile>
void measure_index_list(const Node& node, int workers) {
    constexpr int TRIPS = 20;
    node.clear();
    node.each([&](int gpu) {
        index_lists<by_tile><<<workers, THREADS, 0, node.stream[gpu]>>>(node.peers, node.gpus, gpu, node.samples, TRIPS,
                                                                        node.times, node.faults);
    });
    node.wait();
    report(node, {"index-list", by_tile ? "by tile" : "whole list first", node.gpus, 4 * ENTRIES, workers, ""},
           taken(node, node.samples / 5, node.samples, TRIPS));
}

inline void measure_index_lists(const Node& node) {
    for (const int workers : {4, 16, 32, 64}) {
        measure_index_list<false>(node, workers);
        measure_index_list<true>(node, workers);
    }
}
