// One-shot all-reduces of bf16: every GPU puts its part into all peers' memory, each sums what it was sent.
#pragma once
#include <cuda_bf16.h>

#include "host.cuh"
#include "pushes.cuh"

enum class Handover { flag_a_block, flag_a_word, sentinel };

constexpr size_t SLOT = size_t(1) << 20;         // what one GPU puts into another's memory, one parity
constexpr uint32_t SENTINEL = 0x80008000u;       // two negative zeros: no sum of the data has them

struct AllReduce {
    Peers peers;
    Faults faults;
    int gpus;
    size_t words;  // of 4 bytes, two elements each
    bool barrier;  // whether every block waits for the whole sum
};

__device__ __forceinline__ char* slot_of(const AllReduce& job, int to, int from, uint32_t turn) {
    return job.peers.base[to] + DATA + (size_t(turn) * MAX_GPUS + from) * 2 * SLOT;
}

// Element of rank, round and place: small whole numbers, whose sums bf16 holds exactly.
__device__ __forceinline__ uint32_t element_pair(int rank, uint32_t round, size_t word) {
    const float value = float((rank + 1) * int((round + word) % 3) + 1);
    const __nv_bfloat162 pair = __floats2bfloat162_rn(value, value + 1.0f);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

__device__ __forceinline__ uint32_t add_pairs(uint32_t a, uint32_t b) {
    const float2 x = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&a));
    const float2 y = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&b));
    const __nv_bfloat162 sum = __floats2bfloat162_rn(x.x + y.x, x.y + y.y);
    return *reinterpret_cast<const uint32_t*>(&sum);
}

__device__ __forceinline__ uint4 add_fours(uint4 a, uint4 b) {
    return make_uint4(add_pairs(a.x, b.x), add_pairs(a.y, b.y), add_pairs(a.z, b.z), add_pairs(a.w, b.w));
}

__device__ __forceinline__ uint32_t expected_pair(int gpus, uint32_t round, size_t word) {
    uint32_t sum = element_pair(0, round, word);
    for (int rank = 1; rank < gpus; ++rank) sum = add_pairs(sum, element_pair(rank, round, word));
    return sum;
}

// One all-reduce by all blocks of a grid; `round` counts from 1 and grows by one each time.
template <Handover how>
__device__ __forceinline__ bool all_reduce_once(const AllReduce& job, int gpu, uint32_t round) {
    uint32_t* own = reinterpret_cast<uint32_t*>(job.peers.base[gpu] + OWN);
    uint32_t* sum = reinterpret_cast<uint32_t*>(job.peers.base[gpu] + OWN + SLOT);
    const auto [first, last] = slice_of(job.words, 4, blockIdx.x);
    __shared__ bool going;
    if (threadIdx.x == 0) going = true;
    __syncthreads();

    if constexpr (how == Handover::flag_a_block) {
        const uint32_t turn = round & 1;
        for (int step = 1; step < job.gpus; ++step) {
            const int to = (gpu + step) % job.gpus;
            uint4* theirs = reinterpret_cast<uint4*>(slot_of(job, to, gpu, turn));
            for (size_t i = first / 4 + threadIdx.x; i < last / 4; i += blockDim.x)
                theirs[i] = reinterpret_cast<const uint4*>(own)[i];
        }
        __syncthreads();
        if (threadIdx.x > 0 && threadIdx.x < job.gpus) {
            const int other = (gpu + threadIdx.x) % job.gpus;
            __threadfence_system();
            store_relaxed_sys(block_flag(job.peers.base[other], gpu, blockIdx.x), round);
            const uint32_t* flag = block_flag(job.peers.base[gpu], other, blockIdx.x);
            // Who has had my part may be a round ahead; what it puts then lies in the other turn's place.
            if (!wait_until([&] { return int32_t(load_acquire_sys(flag) - round) >= 0; }, job.faults)) going = false;
        }
        __syncthreads();
        if (!going) return false;
        for (size_t i = first / 4 + threadIdx.x; i < last / 4; i += blockDim.x) {
            uint4 total = make_uint4(0, 0, 0, 0);
            for (int rank = 0; rank < job.gpus; ++rank) {
                const uint4 part = rank == gpu ? reinterpret_cast<const uint4*>(own)[i]
                                               : load_four(reinterpret_cast<const uint4*>(slot_of(job, gpu, rank, turn)) + i);
                total = rank ? add_fours(total, part) : part;
            }
            reinterpret_cast<uint4*>(sum)[i] = total;
        }
    } else if constexpr (how == Handover::flag_a_word) {
        const uint32_t turn = round & 1;
        const uint2* pairs = reinterpret_cast<const uint2*>(own);
        for (size_t i = first / 2 + threadIdx.x; i < last / 2; i += blockDim.x)
            for (int step = 1; step < job.gpus; ++step) {
                const int to = (gpu + step) % job.gpus;
                store_flagged(reinterpret_cast<uint4*>(slot_of(job, to, gpu, turn)) + i, pairs[i].x, pairs[i].y, round);
            }
        for (size_t i = first / 2 + threadIdx.x; i < last / 2; i += blockDim.x) {
            uint2 total = make_uint2(0, 0);
            for (int rank = 0; rank < job.gpus; ++rank) {
                uint2 part = pairs[i];
                if (rank != gpu) {
                    const uint4* place = reinterpret_cast<const uint4*>(slot_of(job, gpu, rank, turn)) + i;
                    uint4 seen{};
                    const auto arrived = [&] { return has_flags(seen = load_flagged(place), round); };
                    if (!wait_until(arrived, job.faults)) going = false;
                    part = make_uint2(seen.x, seen.z);
                }
                total = rank ? make_uint2(add_pairs(total.x, part.x), add_pairs(total.y, part.y)) : part;
            }
            reinterpret_cast<uint2*>(sum)[i] = total;
        }
    } else {
        const uint32_t turn = round % 3, next = (round + 1) % 3;
        const uint4 empty = make_uint4(SENTINEL, SENTINEL, SENTINEL, SENTINEL);
        for (size_t i = first / 4 + threadIdx.x; i < last / 4; i += blockDim.x) {
            const uint4 part = reinterpret_cast<const uint4*>(own)[i];
            for (int step = 1; step < job.gpus; ++step)
                store_four(reinterpret_cast<uint4*>(slot_of(job, (gpu + step) % job.gpus, gpu, turn)) + i, part);
        }
        for (size_t i = first / 4 + threadIdx.x; i < last / 4; i += blockDim.x) {
            uint4 total = make_uint4(0, 0, 0, 0);
            for (int rank = 0; rank < job.gpus; ++rank) {
                uint4 part = reinterpret_cast<const uint4*>(own)[i];
                if (rank != gpu) {
                    const uint4* place = reinterpret_cast<const uint4*>(slot_of(job, gpu, rank, turn)) + i;
                    const bool seen = wait_until(
                        [&] {
                            part = load_four(place);
                            return part.x != SENTINEL && part.y != SENTINEL && part.z != SENTINEL && part.w != SENTINEL;
                        },
                        job.faults);
                    if (!seen) going = false;
                    // Empty again for the round after the next; nobody writes there before it has my part of the next.
                    store_four(reinterpret_cast<uint4*>(slot_of(job, gpu, rank, (next + 1) % 3)) + i, empty);
                }
                total = rank ? add_fours(total, part) : part;
            }
            reinterpret_cast<uint4*>(sum)[i] = total;
        }
    }
    __syncthreads();
    if (!going) return false;
    if (job.barrier)
        return grid_barrier(reinterpret_cast<uint32_t*>(job.peers.base[gpu] + STATE), round, job.faults);
    return true;
}

template <bool fresh>
__device__ __forceinline__ void fill_own(const AllReduce& job, int gpu, uint32_t round) {
    uint32_t* own = reinterpret_cast<uint32_t*>(job.peers.base[gpu] + OWN);
    const auto [first, last] = slice_of(job.words, 4, blockIdx.x);
    for (size_t i = first + threadIdx.x; i < last; i += blockDim.x) own[i] = element_pair(gpu, fresh ? round : 0, i);
    __syncthreads();
}

__device__ __forceinline__ void check_sum(const AllReduce& job, int gpu, uint32_t round) {
    const uint32_t* sum = reinterpret_cast<const uint32_t*>(job.peers.base[gpu] + OWN + SLOT);
    const auto [first, last] = slice_of(job.words, 4, blockIdx.x);
    for (size_t i = first + threadIdx.x; i < last; i += blockDim.x)
        if (sum[i] != expected_pair(job.gpus, round, i)) *job.faults.wrong = 1;
}

// All-reduces one after the other inside one kernel. Checked: other data each round, every sum compared.
template <Handover how, bool checked>
__global__ void __launch_bounds__(THREADS) persistent_all_reduces(AllReduce job, int gpu, int samples, int count,
                                                                  uint64_t* times) {
    uint32_t round = 0;
    if (!checked) fill_own<false>(job, gpu, 0);
    for (int sample = 0; sample < samples; ++sample) {
        if (gpu == 0 && blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample] = now_ns();
        for (int i = 0; i < count; ++i) {
            ++round;
            if (checked) fill_own<true>(job, gpu, round);
            if (!all_reduce_once<how>(job, gpu, round)) return;
            if (checked) check_sum(job, gpu, round);
        }
        if (gpu == 0 && blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
    if (!checked) check_sum(job, gpu, 0);
}

// One all-reduce a launch; each block counts its rounds in memory.
template <Handover how, bool dependent>
__global__ void __launch_bounds__(THREADS) launched_all_reduce(AllReduce job, int gpu) {
    if (dependent) {
        asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
        asm volatile("griddepcontrol.wait;" ::: "memory");
    }
    uint32_t* rounds = reinterpret_cast<uint32_t*>(job.peers.base[gpu] + STATE + 65536) + blockIdx.x;
    __shared__ uint32_t round;
    if (threadIdx.x == 0) round = *rounds + 1;
    __syncthreads();
    all_reduce_once<how>(job, gpu, round);
    if (threadIdx.x == 0) *rounds = round;
}

__global__ void __launch_bounds__(THREADS) first_own(AllReduce job, int gpu) { fill_own<false>(job, gpu, 0); }
__global__ void __launch_bounds__(THREADS) last_sum(AllReduce job, int gpu) { check_sum(job, gpu, 0); }
__global__ void __launch_bounds__(THREADS) fill_sentinels(Peers peers, int gpu) {
    uint32_t* data = reinterpret_cast<uint32_t*>(peers.base[gpu] + DATA);
    const size_t words = 3 * MAX_GPUS * 2 * SLOT / 4;
    for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < words; i += size_t(gridDim.x) * blockDim.x)
        data[i] = SENTINEL;
}

template <Handover how>
void prepare(const Node& node) {
    node.clear();
    if (how == Handover::sentinel) {
        node.each([&](int gpu) { fill_sentinels<<<64, THREADS, 0, node.stream[gpu]>>>(node.peers, gpu); });
        node.wait();
    }
}

template <Handover how>
void measure_persistent(const Node& node, const AllReduce& job, size_t size_bytes, int blocks, const char* variant) {
    constexpr int COUNT = 50;
    prepare<how>(node);
    node.each([&](int gpu) {
        persistent_all_reduces<how, true><<<blocks, THREADS, 0, node.stream[gpu]>>>(job, gpu, 4, COUNT, node.times);
    });
    node.wait();
    const bool wrong = *node.faults.wrong != 0;
    prepare<how>(node);
    *node.faults.wrong = wrong;
    node.each([&](int gpu) {
        persistent_all_reduces<how, false><<<blocks, THREADS, 0, node.stream[gpu]>>>(job, gpu, node.samples, COUNT, node.times);
    });
    node.wait();
    report(node, {"all-reduce", std::string("persistent, ") + variant + (job.barrier ? ", grid barrier" : ""), job.gpus,
                  size_bytes, blocks, ""},
           taken(node, node.samples / 5, node.samples, COUNT));
}
