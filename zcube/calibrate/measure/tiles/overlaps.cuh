// How much of a transfer by tiles running kernels hide, and what the hiding costs them.
#pragma once
#include "host.cuh"
#include "pushes.cuh"

constexpr int TILES = 16;
constexpr size_t TILE_BYTES = size_t(64) << 10;

enum class Sending { only, nothing, after, flag_a_tile, extra_warp, one_fence, flag_a_word };

// Sums the first word of `count` loads of 16 bytes, eight of them under way at a time, in the order written.
__device__ __forceinline__ float read_stream(const float4* from, int count, int stride) {
    float made = 0.0f;
    for (int i = 0; i + 8 <= count; i += 8) {
        float part[8];
#pragma unroll
        for (int j = 0; j < 8; ++j)
            asm volatile("{.reg .f32 b, c, d; ld.global.cs.v4.f32 {%0, b, c, d}, [%1];}"
                         : "=f"(part[j])
                         : "l"(from + size_t(i + j) * stride)
                         : "memory");
#pragma unroll
        for (int j = 0; j < 8; ++j) made += part[j];
    }
    return made;
}

// A turn: every block computes its part of 16 tiles and sends it; the other GPU's turn begins when all of it is there.
// `only`: nobody sends and nobody waits. `nothing`: the parts stay, one flag ends the turn.
// `extra_warp`: the last warp raises the flags of finished tiles while the others compute the next.
template <Sending how>
__global__ void __launch_bounds__(THREADS + 32) turns(Peers peers, int gpu, int samples, int trips, int work, bool streams,
                                                      uint64_t* times, Faults faults) {
    const size_t part = TILE_BYTES / gridDim.x;  // bytes of a tile that this block makes
    char* theirs = peers.base[1 - gpu] + DATA + part * blockIdx.x;
    char* kept = peers.base[gpu] + OWN + part * blockIdx.x;
    const char* own = peers.base[gpu] + DATA + part * blockIdx.x;
    const float4* memory = reinterpret_cast<const float4*>(peers.base[gpu] + OWN + (size_t(16) << 20));
    constexpr int WORKERS = THREADS;
    const bool is_extra = threadIdx.x >= WORKERS;
    __shared__ volatile int finished;
    __shared__ bool going;
    uint32_t round = 0;
    float made = float(threadIdx.x);
    if (threadIdx.x == 0) going = true;
    for (int sample = 0; sample < samples; ++sample) {
        if (gpu == 0 && blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample] = now_ns();
        for (int turn = 0; turn < 2 * trips; ++turn) {
            if (threadIdx.x == 0) finished = 0;
            __syncthreads();
            if ((turn & 1) == gpu) {
                ++round;
                if (is_extra) {
                    if (how == Sending::extra_warp && threadIdx.x == WORKERS)
                        for (int tile = 0; tile < TILES; ++tile) {
                            while (finished <= tile) {
                            }
                            __threadfence_system();
                            store_relaxed_sys(block_flag(peers.base[1 - gpu], 0, blockIdx.x), round * TILES + tile);
                        }
                } else {
                    for (int tile = 0; tile < TILES; ++tile) {
                        if (streams) {
                            const size_t count = size_t(work) * WORKERS;
                            // Four turns read other memory, so that none finds it in the cache.
                            const size_t place = (size_t(round % 4) * TILES + tile) * gridDim.x + blockIdx.x;
                            made += read_stream(memory + place * count + threadIdx.x, work, WORKERS);
                        } else {
                            made = busy(made, work);
                        }
                        const uint32_t word = pattern(round, tile) + (made == 12345.678f ? 1u : 0u);
                        // What is sent after everything else, or not at all, goes to own memory first.
                        constexpr bool stays = how == Sending::only || how == Sending::nothing || how == Sending::after;
                        char* to = (stays ? kept : theirs) + tile * TILE_BYTES;
                        if (how == Sending::flag_a_word) {
                            for (size_t i = threadIdx.x; i < part / 8; i += WORKERS)
                                store_flagged(reinterpret_cast<uint4*>(theirs + 2 * tile * TILE_BYTES + part * blockIdx.x) + i,
                                              word, word, round);
                        } else {
                            for (size_t i = threadIdx.x; i < part / 16; i += WORKERS)
                                reinterpret_cast<uint4*>(to)[i] = make_uint4(word, word, word, word);
                        }
                        asm volatile("bar.sync 1, 512;" ::: "memory");
                        if (how == Sending::flag_a_tile || how == Sending::extra_warp) {
                            if (threadIdx.x == 0) {
                                if (how == Sending::extra_warp) {
                                    __threadfence_block();
                                    finished = tile + 1;
                                } else {
                                    __threadfence_system();
                                    store_relaxed_sys(block_flag(peers.base[1 - gpu], 0, blockIdx.x), round * TILES + tile);
                                }
                            }
                        }
                    }
                    if (how == Sending::after) {
                        for (int tile = 0; tile < TILES; ++tile)
                            for (size_t i = threadIdx.x; i < part / 16; i += WORKERS)
                                reinterpret_cast<uint4*>(theirs + tile * TILE_BYTES)[i] =
                                    reinterpret_cast<const uint4*>(kept + tile * TILE_BYTES)[i];
                    }
                    if (how == Sending::nothing || how == Sending::after || how == Sending::one_fence) {
                        asm volatile("bar.sync 1, 512;" ::: "memory");
                        if (threadIdx.x == 0) {
                            __threadfence_system();
                            store_relaxed_sys(block_flag(peers.base[1 - gpu], 0, blockIdx.x), round * TILES + TILES - 1);
                        }
                    }
                }
                __syncthreads();
            } else if (how != Sending::only) {
                const uint32_t expected = round + (gpu == 1 ? 1 : 0);
                if (how == Sending::flag_a_word) {
                    for (int tile = 0; tile < TILES && !is_extra; ++tile)
                        for (size_t i = threadIdx.x; i < part / 8; i += WORKERS) {
                            const uint4* place =
                                reinterpret_cast<const uint4*>(own + 2 * tile * TILE_BYTES + part * blockIdx.x) + i;
                            uint4 seen{};
                            const auto arrived = [&] { return has_flags(seen = load_flagged(place), expected); };
                            if (!wait_until(arrived, faults)) going = false;
                            else if (seen.x != pattern(expected, tile)) *faults.wrong = 1;
                        }
                    // Then the last word of every block, so that no block runs ahead of the others.
                    if (threadIdx.x < gridDim.x) {
                        const char* last = peers.base[gpu] + DATA + 2 * (TILES - 1) * TILE_BYTES + 2 * part * (threadIdx.x + 1);
                        const uint4* place = reinterpret_cast<const uint4*>(last) - 1;
                        if (!wait_until([&] { return has_flags(load_flagged(place), expected); }, faults)) going = false;
                    }
                } else if (threadIdx.x < gridDim.x) {
                    const uint32_t* flag = block_flag(peers.base[gpu], 0, threadIdx.x);
                    const uint32_t all = expected * TILES + TILES - 1;
                    if (!wait_until([&] { return load_acquire_sys(flag) == all; }, faults)) going = false;
                }
                __syncthreads();
                if (!going) return;
                if (how != Sending::nothing && how != Sending::flag_a_word && !is_extra) {
                    // The last words of every tile of this block's part.
                    if (threadIdx.x < TILES) {
                        const uint32_t seen =
                            *reinterpret_cast<const volatile uint32_t*>(own + threadIdx.x * TILE_BYTES + part - 4);
                        if (seen != pattern(expected, threadIdx.x)) *faults.wrong = 1;
                    }
                    __syncwarp();
                }
            }
        }
        if (gpu == 0 && blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
    if (made == 12345.678f) times[0] = 0;
}

template <Sending how>
void measure_turn(const Node& node, const char* variant, int blocks, int work, bool streams) {
    constexpr int TRIPS = 5;
    node.clear();
    node.each([&](int gpu) {
        if (gpu < 2)
            turns<how><<<blocks, THREADS + 32, 0, node.stream[gpu]>>>(node.peers, gpu, node.samples, TRIPS, work, streams,
                                                                     node.times, node.faults);
    });
    node.wait();
    const std::string extra = std::string(", \"computing\": \"") + (streams ? "memory" : "multiply-add") +
                              "\", \"work\": " + std::to_string(work) + ", \"tiles\": " + std::to_string(TILES);
    report(node, {"overlap", variant, std::min(node.gpus, 2), TILES * TILE_BYTES, blocks, extra},
           taken(node, node.samples / 5, node.samples, how == Sending::only ? TRIPS : 2.0 * TRIPS));
}

inline void measure_overlaps(const Node& node) {
    const int blocks = 64;
    const struct {
        int work;
        bool streams;
    } loads[] = {{120, false}, {600, false}, {24, true}};
    for (const auto& load : loads) {
        measure_turn<Sending::only>(node, "computation alone", blocks, load.work, load.streams);
        if (node.gpus < 2) continue;
        measure_turn<Sending::nothing>(node, "one flag, nothing sent", blocks, load.work, load.streams);
        measure_turn<Sending::after>(node, "then sending", blocks, load.work, load.streams);
        measure_turn<Sending::flag_a_tile>(node, "flag a tile", blocks, load.work, load.streams);
        measure_turn<Sending::extra_warp>(node, "flags by an extra warp", blocks, load.work, load.streams);
        measure_turn<Sending::one_fence>(node, "one fence at the end", blocks, load.work, load.streams);
        measure_turn<Sending::flag_a_word>(node, "flag a word", blocks, load.work, load.streams);
    }
}
