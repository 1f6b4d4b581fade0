// The sparse indexer's scan: logits of all cached keys by tensor cores, then the exact top 2,048, by all blocks of one GPU.
#pragma once
#include "stages.cuh"

constexpr int HEADS = 32, HEAD_DIM = 128, CHOSEN = 2048;
constexpr int BINS = 2048;
constexpr int WARPS = THREADS / 32;
constexpr int KEYS_AT_ONCE = 16;  // of a warp
constexpr size_t KEY_BYTES = 2 * HEAD_DIM;
constexpr size_t QUERIES_AT = size_t(2) << 20, SELECTED_AT = size_t(3) << 20, HISTOGRAMS_AT = size_t(4) << 20;  // behind DATA
constexpr int MOST_QUERIES = 4;

// Passes over the bits of a logit from the top: 11, 11, 10.
__device__ __forceinline__ int bin_of(uint32_t key, int pass) {
    return pass == 0 ? key >> 21 : pass == 1 ? (key >> 10) & 2047 : key & 1023;
}
__device__ __forceinline__ uint32_t sortable(float value) {
    const uint32_t bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ void multiply_tile(float (&c)[4], uint4 low, uint4 high, uint4 key) {
    // Words of 16 bytes stand for two steps of 16 along the head; the order along it is free, as long as both sides have one.
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(key.x), "r"(key.y));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(low.z), "r"(high.z), "r"(low.w), "r"(high.w), "r"(key.z), "r"(key.w));
}

struct Selection {
    char* base;
    int tokens, queries;
    Faults faults;
    float* checked;  // logits of the last round, by query and token; null where they are not kept
};

// Logits of the keys of this block: the sum over heads of the positive part of query times key.
__device__ void make_logits(const Selection& job, const uint4* keys, const uint4* queries, float* logits, int groups_here) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = lane >> 2, column = lane & 3;
    for (int i = 0; i < groups_here; ++i) {
        const int group = (i * gridDim.x + blockIdx.x) * WARPS + warp;
        if (group * KEYS_AT_ONCE >= job.tokens) continue;
        uint4 held[2][4];
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int c = 0; c < 4; ++c)
                held[half][c] = load_weight(
                    keys + (size_t(group) * KEYS_AT_ONCE + half * 8 + row) * (KEY_BYTES / 16) + c * 4 + column);
        for (int query = 0; query < job.queries; ++query) {
            float sums[2][2] = {};
#pragma unroll
            for (int tile = 0; tile < HEADS / 16; ++tile) {
                float made[2][4] = {};
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    const uint4* from = queries + ((query * (HEADS / 16) + tile) * 4 + c) * 64 + lane;
                    const uint4 low = from[0], high = from[32];
                    multiply_tile(made[0], low, high, held[0][c]);
                    multiply_tile(made[1], low, high, held[1][c]);
                }
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int j = 0; j < 2; ++j) sums[half][j] += fmaxf(made[half][j], 0.0f) + fmaxf(made[half][j + 2], 0.0f);
            }
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    float sum = sums[half][j];
                    for (int offset = 4; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
                    if (row == 0) {
                        const int key = half * 8 + 2 * column + j;
                        logits[(size_t(query) * groups_here * WARPS + i * WARPS + warp) * KEYS_AT_ONCE + key] = sum;
                    }
                }
        }
    }
    __syncthreads();
}

// The bin that holds the element number `rank` from the top, and how many lie above it.
__device__ void find_bin(const uint32_t* histogram, int rank, int* bin, int* above) {
    __shared__ uint32_t sums[WARPS];
    constexpr int EACH = BINS / THREADS;
    const int first = BINS - EACH * (threadIdx.x + 1);  // thread 0 has the highest bins
    const uint4 counts4 = __ldcg(reinterpret_cast<const uint4*>(histogram + first));
    const uint32_t counts[EACH] = {counts4.x, counts4.y, counts4.z, counts4.w};
    const uint32_t mine = counts4.x + counts4.y + counts4.z + counts4.w;
    uint32_t before = mine;
    for (int offset = 1; offset < 32; offset *= 2) {
        const uint32_t other = __shfl_up_sync(0xffffffffu, before, offset);
        if ((threadIdx.x & 31) >= offset) before += other;
    }
    if ((threadIdx.x & 31) == 31) sums[threadIdx.x / 32] = before;
    __syncthreads();
    before -= mine;
    for (int i = 0; i < threadIdx.x / 32; ++i) before += sums[i];
#pragma unroll
    for (int i = EACH - 1; i >= 0; --i) {
        if (int(before) <= rank && rank < int(before + counts[i])) {
            *bin = first + i;
            *above = int(before);
        }
        before += counts[i];
    }
    __syncthreads();
}

// Logits crowd in few bins: threads of a warp that meet in one add together.
__device__ __forceinline__ void count_in(uint32_t* histogram, int bin) {
    const unsigned together = __match_any_sync(__activemask(), bin);
    if ((threadIdx.x & 31) == __ffs(together) - 1) atomicAdd(histogram + bin, uint32_t(__popc(together)));
}

__global__ void __launch_bounds__(THREADS, 1) selections(Selection job, int samples, int count, uint64_t* times) {
    extern __shared__ uint4 shared[];
    uint4* queries = shared;  // fragments, in the order lanes read them
    const int groups = (job.tokens + KEYS_AT_ONCE - 1) / KEYS_AT_ONCE, per_round = int(gridDim.x) * WARPS;
    const int groups_here = (groups + per_round - 1) / per_round, slots = groups_here * WARPS * KEYS_AT_ONCE;
    float* logits = reinterpret_cast<float*>(queries + job.queries * (HEADS / 16) * 4 * 64);
    __shared__ uint32_t histogram[MOST_QUERIES * BINS];
    __shared__ int bin, above;
    uint32_t* counters = reinterpret_cast<uint32_t*>(job.base + STATE);
    uint32_t* all_histograms = reinterpret_cast<uint32_t*>(job.base + DATA + HISTOGRAMS_AT);
    int* selected = reinterpret_cast<int*>(job.base + DATA + SELECTED_AT);
    const size_t stride = size_t(job.tokens) * KEY_BYTES, turns = WEIGHT_BYTES / stride;
    uint32_t barrier = 0, round = 0;
    const auto token_of = [&](int slot) {
        const int i = slot / (WARPS * KEYS_AT_ONCE), inside = slot % (WARPS * KEYS_AT_ONCE);
        return ((i * int(gridDim.x) + int(blockIdx.x)) * WARPS) * KEYS_AT_ONCE + inside;
    };
    for (int sample = 0; sample < samples; ++sample) {
        if (blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample] = now_ns();
        for (int repeat = 0; repeat < count; ++repeat) {
            ++round;
            // Two sets of histograms: one in use, one emptied for the next round.
            uint32_t* histograms = all_histograms + size_t(round % 2) * MOST_QUERIES * 4 * BINS;
            uint32_t* next = all_histograms + size_t((round + 1) % 2) * MOST_QUERIES * 4 * BINS;
            for (int i = blockIdx.x * THREADS + threadIdx.x; i < MOST_QUERIES * 4 * BINS; i += gridDim.x * THREADS) next[i] = 0;
            const int fragments = job.queries * (HEADS / 16) * 4 * 64;
            for (int i = threadIdx.x; i < fragments; i += THREADS)
                queries[i] = __ldcg(reinterpret_cast<const uint4*>(job.base + DATA + QUERIES_AT) + i);
            __syncthreads();
            const uint4* keys = reinterpret_cast<const uint4*>(job.base + WEIGHTS + (round % turns) * stride);
            make_logits(job, keys, queries, logits, groups_here);
            uint32_t prefix[MOST_QUERIES] = {};
            int rank[MOST_QUERIES] = {CHOSEN - 1, CHOSEN - 1, CHOSEN - 1, CHOSEN - 1};
            for (int pass = 0; pass < 3; ++pass) {
                for (int i = threadIdx.x; i < job.queries * BINS; i += THREADS) histogram[i] = 0;
                __syncthreads();
                const int known = pass == 0 ? 0 : pass == 1 ? 21 : 10;
                for (int query = 0; query < job.queries; ++query)
                    for (int slot = threadIdx.x; slot < slots; slot += THREADS) {
                        if (token_of(slot) >= job.tokens) continue;
                        const uint32_t key = sortable(logits[query * slots + slot]);
                        if (pass && (key >> known) != prefix[query]) continue;
                        count_in(histogram + query * BINS, bin_of(key, pass));
                    }
                __syncthreads();
                uint32_t* into = histograms + size_t(pass) * MOST_QUERIES * BINS;
                for (int i = threadIdx.x; i < job.queries * BINS; i += THREADS)
                    if (histogram[i]) atomicAdd(into + i, histogram[i]);
                __threadfence();
                if (!grid_barrier(counters, ++barrier, job.faults)) return;
                for (int query = 0; query < job.queries; ++query) {
                    find_bin(into + query * BINS, rank[query], &bin, &above);
                    rank[query] -= above;
                    prefix[query] = pass == 0 ? uint32_t(bin) : (prefix[query] << (pass == 1 ? 11 : 10)) | uint32_t(bin);
                    __syncthreads();
                }
            }
            // All above the threshold, and as many of those equal to it as are still wanted, in no order.
            for (int query = 0; query < job.queries; ++query) {
                uint32_t* positions = histograms + (size_t(3) * MOST_QUERIES + query) * BINS;
                for (int slot = threadIdx.x; slot < slots; slot += THREADS) {
                    const int token = token_of(slot);
                    if (token >= job.tokens) continue;
                    const uint32_t key = sortable(logits[query * slots + slot]);
                    if (key > prefix[query]) selected[query * CHOSEN + atomicAdd(positions, 1)] = token;
                    else if (key == prefix[query]) {
                        const int place = int(atomicAdd(positions + 64, 1));
                        if (place <= rank[query]) selected[query * CHOSEN + CHOSEN - 1 - place] = token;
                    }
                    if (job.checked) job.checked[size_t(query) * job.tokens + token] = logits[query * slots + slot];
                }
            }
            __threadfence();
            if (!grid_barrier(counters, ++barrier, job.faults)) return;
        }
        if (blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
}

// Small numbers of both signs, from their place.
__device__ __forceinline__ float made_value(uint32_t place) {
    uint32_t hash = place * 2654435761u;
    hash ^= hash >> 15;
    hash *= 2246822519u;
    return float(int(hash >> 20) - 2048) / 2048.0f;
}
__global__ void fill_keys(char* base, int tokens, int queries) {
    const size_t at = blockIdx.x * size_t(blockDim.x) + threadIdx.x, all = size_t(gridDim.x) * blockDim.x;
    __nv_bfloat16* keys = reinterpret_cast<__nv_bfloat16*>(base + WEIGHTS);
    const size_t held = WEIGHT_BYTES / (size_t(tokens) * KEY_BYTES) * tokens * HEAD_DIM;
    for (size_t i = at; i < held; i += all) keys[i] = __float2bfloat16(made_value(uint32_t(i % (size_t(tokens) * HEAD_DIM))));
    // Fragments: query, tile of 16 heads, 16-byte column c, half of the rows, lane; eight values each.
    __nv_bfloat16* fragments = reinterpret_cast<__nv_bfloat16*>(base + DATA + QUERIES_AT);
    for (size_t i = at; i < size_t(queries) * HEADS * HEAD_DIM; i += all) {
        const int inside = i % 8, lane = i / 8 % 32, half = i / 256 % 2, c = i / 512 % 4, head16 = i / 2048 % (HEADS / 16);
        const int query = int(i / (HEADS * HEAD_DIM)), head = head16 * 16 + half * 8 + lane / 4;
        const int place = 32 * c + 8 * (lane % 4) + inside;
        fragments[i] = __float2bfloat16(made_value(0x40000000u + (query * HEADS + head) * HEAD_DIM + place));
    }
}
// One thread a token: its logits once more, without tensor cores; the least chosen must not be below the greatest left out.
__global__ void check_selection(Selection job, uint32_t* marks, uint32_t* extremes) {
    const int token = blockIdx.x * blockDim.x + threadIdx.x;
    if (token >= job.tokens) return;
    for (int query = 0; query < job.queries; ++query) {
        float sum = 0.0f;
        for (int head = 0; head < HEADS; ++head) {
            float product = 0.0f;
            for (int i = 0; i < HEAD_DIM; ++i)
                product += __bfloat162float(__float2bfloat16(made_value(uint32_t(token) * HEAD_DIM + i))) *
                           __bfloat162float(__float2bfloat16(made_value(0x40000000u + (query * HEADS + head) * HEAD_DIM + i)));
            sum += fmaxf(product, 0.0f);
        }
        const float made = job.checked[size_t(query) * job.tokens + token];
        if (fabsf(sum - made) > 1e-3f * fabsf(sum) + 1e-2f) *job.faults.wrong = 1;
        const uint32_t key = sortable(made);
        if (marks[size_t(query) * job.tokens + token]) atomicMin(extremes + 2 * query, key);
        else atomicMax(extremes + 2 * query + 1, key);
    }
}
__global__ void mark_selected(Selection job, uint32_t* marks) {
    const int* selected = reinterpret_cast<const int*>(job.base + DATA + SELECTED_AT);
    for (int i = threadIdx.x; i < job.queries * CHOSEN; i += blockDim.x) {
        const int token = selected[i];
        const bool known = token >= 0 && token < job.tokens;
        if (!known || atomicAdd(marks + size_t(i / CHOSEN) * job.tokens + token, 1)) *job.faults.wrong = 1;
    }
}
__global__ void judge(Selection job, const uint32_t* extremes) {
    if (int(threadIdx.x) < job.queries && extremes[2 * threadIdx.x] < extremes[2 * threadIdx.x + 1]) *job.faults.wrong = 1;
}

inline void run_selection(const Node& node, Selection job, int samples, int count) {
    const int per_round = node.sms * WARPS, groups = (job.tokens + KEYS_AT_ONCE - 1) / KEYS_AT_ONCE;
    const int slots = (groups + per_round - 1) / per_round * WARPS * KEYS_AT_ONCE;
    const size_t bytes = size_t(job.queries) * (HEADS * HEAD_DIM * 2 + slots * sizeof(float));
    CUDA(cudaFuncSetAttribute(selections, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
    uint64_t* times = node.times;
    void* arguments[] = {&job, &samples, &count, &times};
    CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(selections), dim3(node.sms), dim3(THREADS), arguments, bytes,
                                     node.stream[0]));
    CUDA(cudaStreamSynchronize(node.stream[0]));
}

inline void measure_selection(const Node& node, int tokens, int queries) {
    node.clear();
    CUDA(cudaSetDevice(0));
    Selection job{node.peers.base[0], tokens, queries, node.faults, nullptr};
    const size_t words = size_t(queries) * tokens;
    CUDA(cudaMalloc(&job.checked, words * 4));
    uint32_t* marks = nullptr;
    CUDA(cudaMalloc(&marks, words * 4 + 64));
    CUDA(cudaMemset(marks, 0, words * 4 + 64));
    for (int query = 0; query < queries; ++query) CUDA(cudaMemset(marks + words + 2 * query, 0xff, 4));
    fill_keys<<<1024, 256, 0, node.stream[0]>>>(job.base, tokens, queries);
    CUDA(cudaStreamSynchronize(node.stream[0]));
    run_selection(node, job, 1, 3);
    mark_selected<<<1, THREADS, 0, node.stream[0]>>>(job, marks);
    check_selection<<<(tokens + 255) / 256, 256, 0, node.stream[0]>>>(job, marks, marks + words);
    judge<<<1, 32, 0, node.stream[0]>>>(job, marks + words);
    CUDA(cudaStreamSynchronize(node.stream[0]));
    CUDA(cudaFree(job.checked));
    CUDA(cudaFree(marks));
    job.checked = nullptr;
    CUDA(cudaMemsetAsync(job.base + STATE, 0, 4096, node.stream[0]));
    CUDA(cudaMemsetAsync(job.base + DATA + HISTOGRAMS_AT, 0, size_t(1) << 20, node.stream[0]));
    run_selection(node, job, node.samples / 4, 20);
    const std::string variant = std::to_string(queries) + (queries > 1 ? " queries" : " query");
    report(node, {"selection", variant, 1, size_t(tokens) * KEY_BYTES, node.sms, ""},
           taken(node, node.samples / 20, node.samples / 4, 20));
}

inline void measure_selections(const Node& node) {
    for (const int queries : {1, 4})
        for (const int tokens : {4096, 16384, 32768, 65536, 131072, 196608}) measure_selection(node, tokens, queries);
}
