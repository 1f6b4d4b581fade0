// A message put into a peer's memory: by data and a flag a block, or by words that carry their flag; and a stream of stores.
#pragma once
#include "host.cuh"

constexpr size_t BLOCK_FLAG = 128;  // bytes from one block's flag to the next

__device__ __forceinline__ uint32_t* block_flag(char* base, int from, int block) {
    return reinterpret_cast<uint32_t*>(base + FLAGS + size_t(from) * 65536 + size_t(block) * BLOCK_FLAG);
}

__device__ __forceinline__ uint32_t pattern(uint32_t round, size_t word) { return round * 2654435761u + uint32_t(word); }

// Every block stores its slice of 16-byte words, one thread fences and raises the block's flag; every block of the reader
// waits for all flags, then the turn is its own.
template <bool checked>
__global__ void __launch_bounds__(THREADS) push_flagged_blocks(Peers peers, int gpu, size_t words, int samples, int trips,
                                                               uint64_t* times, Faults faults) {
    uint4* theirs = reinterpret_cast<uint4*>(peers.base[1 - gpu] + DATA);
    const uint4* own = reinterpret_cast<const uint4*>(peers.base[gpu] + DATA);
    const auto [first, last] = slice_of(words, 1, blockIdx.x);
    __shared__ bool going;
    uint32_t round = 0;
    if (threadIdx.x == 0) going = true;
    for (int sample = 0; sample < samples; ++sample) {
        if (gpu == 0 && threadIdx.x == 0 && blockIdx.x == 0) times[2 * sample] = now_ns();
        for (int turn = 0; turn < 2 * trips; ++turn) {
            if ((turn & 1) == gpu) {
                ++round;
                for (size_t i = first + threadIdx.x; i < last; i += blockDim.x) {
                    const uint32_t value = pattern(round, i);
                    theirs[i] = make_uint4(value, value + 1, value + 2, value + 3);
                }
                __syncthreads();
                if (threadIdx.x == 0) {
                    __threadfence_system();
                    store_relaxed_sys(block_flag(peers.base[1 - gpu], gpu, blockIdx.x), round);
                }
            } else {
                const uint32_t expected = round + (gpu == 1 ? 1 : 0);
                if (threadIdx.x < gridDim.x) {
                    const uint32_t* flag = block_flag(peers.base[gpu], 1 - gpu, threadIdx.x);
                    if (!wait_until([&] { return load_acquire_sys(flag) == expected; }, faults)) going = false;
                }
                __syncthreads();
                if (!going) return;
                if (checked)
                    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < words; i += size_t(gridDim.x) * blockDim.x)
                        if (own[i].x != pattern(expected, i) || own[i].w != pattern(expected, i) + 3) *faults.wrong = 1;
                __syncthreads();
            }
        }
        if (gpu == 0 && threadIdx.x == 0 && blockIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
}

// Every 4 bytes carry the round behind them; a block answers when its own slice is there, and the last word of every other: else
// some blocks would send while others receive. Always checked.
__global__ void __launch_bounds__(THREADS) push_flagged_words(Peers peers, int gpu, size_t words, int samples, int trips,
                                                              uint64_t* times, Faults faults) {
    uint4* theirs = reinterpret_cast<uint4*>(peers.base[1 - gpu] + DATA);
    const uint4* own = reinterpret_cast<const uint4*>(peers.base[gpu] + DATA);
    const auto [first, last] = slice_of(words, 1, blockIdx.x);
    __shared__ bool going;
    uint32_t round = 0;
    if (threadIdx.x == 0) going = true;
    __syncthreads();
    for (int sample = 0; sample < samples; ++sample) {
        if (gpu == 0 && threadIdx.x == 0 && blockIdx.x == 0) times[2 * sample] = now_ns();
        for (int turn = 0; turn < 2 * trips; ++turn) {
            if ((turn & 1) == gpu) {
                ++round;
                for (size_t i = first + threadIdx.x; i < last; i += blockDim.x)
                    store_flagged(theirs + i, pattern(round, i), pattern(round, i) + 1, round);
            } else {
                const uint32_t expected = round + (gpu == 1 ? 1 : 0);
                for (size_t i = first + threadIdx.x; i < last; i += blockDim.x) {
                    uint4 seen{};
                    const auto arrived = [&] { return has_flags(seen = load_flagged(own + i), expected); };
                    if (!wait_until(arrived, faults)) going = false;
                    else if (seen.x != pattern(expected, i) || seen.z != pattern(expected, i) + 1) *faults.wrong = 1;
                }
                if (const Slice others = slice_of(words, 1, threadIdx.x); threadIdx.x < gridDim.x && others.first < words) {
                    const uint4* place = own + others.last - 1;
                    if (!wait_until([&] { return has_flags(load_flagged(place), expected); }, faults)) going = false;
                }
                __syncthreads();
                if (!going) return;
            }
        }
        if (gpu == 0 && threadIdx.x == 0 && blockIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
}

inline void measure_push(const Node& node, size_t size_bytes, int blocks) {
    const int trips = size_bytes > 262144 ? 10 : 30;
    const size_t words = size_bytes / 16;
    if (words < size_t(blocks)) return;
    node.clear();
    node.each([&](int gpu) {
        if (gpu < 2)
            push_flagged_blocks<true><<<blocks, THREADS, 0, node.stream[gpu]>>>(node.peers, gpu, words, 4, trips, node.times,
                                                                               node.faults);
    });
    node.wait();
    const bool wrong = *node.faults.wrong != 0;
    node.clear();
    *node.faults.wrong = wrong;
    node.each([&](int gpu) {
        if (gpu < 2)
            push_flagged_blocks<false><<<blocks, THREADS, 0, node.stream[gpu]>>>(node.peers, gpu, words, node.samples, trips,
                                                                                node.times, node.faults);
    });
    node.wait();
    report(node, {"push", "flag a block", 2, size_bytes, blocks, ""},
           taken(node, node.samples / 5, node.samples, 2.0 * trips));

    node.clear();
    node.each([&](int gpu) {
        if (gpu < 2)
            push_flagged_words<<<blocks, THREADS, 0, node.stream[gpu]>>>(node.peers, gpu, size_bytes / 8, node.samples, trips,
                                                                        node.times, node.faults);
    });
    node.wait();
    report(node, {"push", "flag a word", 2, size_bytes, blocks, ""},
           taken(node, node.samples / 5, node.samples, 2.0 * trips));
}

// A stream of stores into the peer's memory with one fence at its end.
__global__ void __launch_bounds__(THREADS) store_stream(Peers peers, size_t words) {
    uint4* theirs = reinterpret_cast<uint4*>(peers.base[1] + DATA);
    const uint4 value = make_uint4(1, 2, 3, 4);
    for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < words; i += size_t(gridDim.x) * blockDim.x)
        theirs[i] = value;
    __threadfence_system();
}

inline void measure_stream(const Node& node, int blocks) {
    const size_t size_bytes = size_t(blocks < 8 ? 8 : 64) << 20;
    node.clear();
    std::vector<double> us;
    for (int sample = 0; sample < 12; ++sample) {
        const double took = gated_us(node, [&](int gpu) {
            if (gpu == 0) store_stream<<<blocks, THREADS, 0, node.stream[0]>>>(node.peers, size_bytes / 16);
        });
        if (sample > 1) us.push_back(took);
    }
    report(node, {"stream", "stores of 16 B", 2, size_bytes, blocks, ""}, us);
}

inline void measure_pushes(const Node& node) {
    for (const size_t size : {1024, 4096, 8192, 12288, 49152, 131072, 262144, 1048576})
        for (const int blocks : {1, 2, 4, 8, 16, 32, 64}) measure_push(node, size, blocks);
    for (const int blocks : {1, 2, 4, 8, 16, 32, 64, node.sms}) measure_stream(node, blocks);
}
