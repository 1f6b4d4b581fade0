// One dependent stage of a decode step: wait for the vector all blocks made before, multiply weights that stream in from memory,
// hand the new vector on. As a stage of one running kernel, and as a kernel of a chain.
#pragma once
#include <cuda_bf16.h>

#include "host.cuh"
#include "launches.cuh"

constexpr int VECTOR_PAIRS = 3072;      // 6,144 bf16 values, the hidden state of GLM-5.1
constexpr int WEIGHTS_AT_ONCE = 8;      // loads of 16 bytes a thread has under way
constexpr size_t WEIGHTS = size_t(160) << 20;
constexpr size_t WEIGHT_BYTES = BUFFER_BYTES - WEIGHTS;

__device__ __forceinline__ uint4 load_weight(const uint4* at) {
    uint4 v;
    asm volatile("ld.global.cs.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at) : "memory");
    return v;
}

__device__ __forceinline__ float multiply(uint4 weight, const uint32_t* vector) {
    const uint32_t words[4] = {weight.x, weight.y, weight.z, weight.w};
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 w = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&words[i]));
        const float2 v = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&vector[i]));
        sum = fmaf(w.x, v.x, fmaf(w.y, v.y, sum));
    }
    return sum;
}

// Asks for a thread's weights number `first` and up, as many at once as it holds.
__device__ __forceinline__ void ask_for(uint4 (&held)[WEIGHTS_AT_ONCE], const uint4* from, size_t stride, int first,
                                        int loads) {
#pragma unroll
    for (int j = 0; j < WEIGHTS_AT_ONCE; ++j)
        if (first + j < loads) held[j] = load_weight(from + (first + j) * stride);
}

// A thread's part of the product; `asked`: the first weights are under way already.
__device__ __forceinline__ float streamed_product(uint4 (&held)[WEIGHTS_AT_ONCE], const uint4* from, size_t stride, int loads,
                                                  const uint32_t* vector, bool asked) {
    float sum = 0.0f;
    for (int first = 0; first < loads; first += WEIGHTS_AT_ONCE) {
        if (!asked || first) ask_for(held, from, stride, first, loads);
#pragma unroll
        for (int j = 0; j < WEIGHTS_AT_ONCE; ++j)
            if (first + j < loads) sum += multiply(held[j], vector + (4 * threadIdx.x + 4 * j) % (VECTOR_PAIRS - 4));
    }
    return sum;
}

// The block's sum, in every thread's hands through shared memory.
__device__ __forceinline__ float block_sum(float value) {
    __shared__ float parts[THREADS / 32];
    for (int offset = 16; offset; offset >>= 1) value += __shfl_xor_sync(0xffffffffu, value, offset);
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < THREADS / 32; ++i) total += parts[i];
    return total;
}

// Hands on this block's share of the new vector, each word with the stage's number behind it.
__device__ __forceinline__ void publish(uint4* vector, float total, uint32_t stage) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(total * 1e-20f + 1.0f, 1.0f);
    const uint32_t word = *reinterpret_cast<const uint32_t*>(&pair);
    // Every block has a share, so that none is two stages ahead of another.
    for (int i = blockIdx.x + gridDim.x * threadIdx.x; i < VECTOR_PAIRS / 2; i += gridDim.x * blockDim.x)
        store_flagged(vector + i, word, word, stage);
}

// `loads`: of 16 bytes a thread makes in a stage. Vectors of odd and even stages lie apart.
template <bool early>
__global__ void __launch_bounds__(THREADS, 1) persistent_stages(char* base, int loads, int samples, int count,
                                                                uint64_t* times, Faults faults) {
    __shared__ uint32_t vector[VECTOR_PAIRS];
    __shared__ bool going;
    const uint4* weights = reinterpret_cast<const uint4*>(base + WEIGHTS);
    const size_t stage_words = size_t(loads) * gridDim.x * blockDim.x, turns = WEIGHT_BYTES / 16 / stage_words;
    uint4* vectors[2] = {reinterpret_cast<uint4*>(base + DATA), reinterpret_cast<uint4*>(base + DATA + (1 << 20))};
    if (threadIdx.x == 0) going = true;
    publish(vectors[0], 0.0f, 1);
    uint32_t stage = 0;
    for (int sample = 0; sample < samples; ++sample) {
        if (blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample] = now_ns();
        for (int i = 0; i < count; ++i) {
            ++stage;
            const uint4* from = weights + (stage % turns) * stage_words + blockIdx.x * blockDim.x + threadIdx.x;
            const size_t stride = size_t(gridDim.x) * blockDim.x;
            uint4 held[WEIGHTS_AT_ONCE];
            if (early) ask_for(held, from, stride, 0, loads);
            for (int pair = threadIdx.x; pair < VECTOR_PAIRS / 2; pair += blockDim.x) {
                uint4 seen{};
                const uint4* place = vectors[(stage - 1) & 1] + pair;
                if (!wait_until([&] { return has_flags(seen = load_flagged(place), stage); }, faults)) going = false;
                vector[2 * pair] = seen.x;
                vector[2 * pair + 1] = seen.z;
            }
            __syncthreads();
            if (!going) return;
            const float total = block_sum(streamed_product(held, from, stride, loads, vector, early));
            publish(vectors[stage & 1], total, stage + 1);
            __syncthreads();
        }
        if (blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
}

// The same stage as a kernel; who comes before has ended, so that no flags are needed.
template <bool dependent>
__global__ void __launch_bounds__(THREADS, 1) stage_kernel(char* base, int loads, int number) {
    __shared__ uint32_t vector[VECTOR_PAIRS];
    if (dependent) {
        asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
        asm volatile("griddepcontrol.wait;" ::: "memory");
    }
    const uint32_t* read = reinterpret_cast<const uint32_t*>(base + DATA + ((number & 1) << 20));
    uint32_t* write = reinterpret_cast<uint32_t*>(base + DATA + ((~number & 1) << 20));
    const uint4* weights = reinterpret_cast<const uint4*>(base + WEIGHTS);
    const size_t stage_words = size_t(loads) * gridDim.x * blockDim.x, turns = WEIGHT_BYTES / 16 / stage_words;
    const uint4* from = weights + (number % turns) * stage_words + blockIdx.x * blockDim.x + threadIdx.x;
    const size_t stride = size_t(gridDim.x) * blockDim.x;
    for (int pair = threadIdx.x; pair < VECTOR_PAIRS; pair += blockDim.x) vector[pair] = __ldcg(read + pair);
    __syncthreads();
    uint4 held[WEIGHTS_AT_ONCE];
    const float total = block_sum(streamed_product(held, from, stride, loads, vector, false));
    const __nv_bfloat162 made = __floats2bfloat162_rn(total * 1e-20f + 1.0f, 1.0f);
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < VECTOR_PAIRS; i += gridDim.x * blockDim.x)
        write[i] = *reinterpret_cast<const uint32_t*>(&made);
}

inline void measure_stage(const Node& node, int loads) {
    constexpr int COUNT = 100;
    const size_t bytes = size_t(loads) * 16 * node.sms * THREADS;
    for (const bool early : {false, true}) {
        node.clear();
        CUDA(cudaSetDevice(0));
        // Cooperative, so that all blocks are known to run at once.
        char* base = node.peers.base[0];
        int samples = node.samples / 2, count = COUNT;
        uint64_t* times = node.times;
        Faults faults = node.faults;
        void* arguments[] = {&base, &loads, &samples, &count, &times, &faults};
        void* kernel = early ? reinterpret_cast<void*>(persistent_stages<true>) : reinterpret_cast<void*>(persistent_stages<false>);
        CUDA(cudaLaunchCooperativeKernel(kernel, dim3(node.sms), dim3(THREADS), arguments, 0, node.stream[0]));
        node.wait();
        report(node, {"stage", early ? "persistent, weights early" : "persistent", 1, bytes, node.sms, ""},
               taken(node, samples / 5, samples, COUNT));
    }
    const struct {
        Chain kind;
        const char* name;
    } chains[] = {{Chain::stream, "stream"}, {Chain::graph, "graph"}, {Chain::dependent, "graph, dependent launch"}};
    for (const auto& chain : chains) {
        node.clear();
        int number = 0;
        const auto us = chain_us(node, 1, chain.kind, CHAIN, 30, [&](int gpu, bool dependent) {
            char* base = node.peers.base[gpu];
            if (dependent) launch(node.stream[gpu], node.sms, true, stage_kernel<true>, base, loads, number++);
            else launch(node.stream[gpu], node.sms, false, stage_kernel<false>, base, loads, number++);
        });
        report(node, {"stage", chain.name, 1, bytes, node.sms, ""}, per_event(us, 0.0, CHAIN));
    }
}

inline void measure_stages(const Node& node) {
    for (const int loads : {1, 2, 4, 8, 16, 32}) measure_stage(node, loads);
}
