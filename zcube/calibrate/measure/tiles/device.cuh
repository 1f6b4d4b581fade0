// What runs inside kernels: accesses of stated order and scope, waits that end, the clock.
#pragma once
#include <cstdint>

constexpr int MAX_GPUS = 8;
constexpr int THREADS = 512;

// One base address a GPU; every GPU sees all of them.
struct Peers {
    char* base[MAX_GPUS];
};

// Flags that any GPU and the host see: a wait that ran out of time, and words that arrived wrong.
struct Faults {
    volatile int* timed_out;
    int* wrong;
};

// ---- order and scope, as PTX names them -----------------------------------------------------------------------------------

__device__ __forceinline__ void store_relaxed_sys(uint32_t* at, uint32_t value) {
    asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ __forceinline__ void store_release_sys(uint32_t* at, uint32_t value) {
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ __forceinline__ void store_relaxed_gpu(uint32_t* at, uint32_t value) {
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ __forceinline__ void store_release_gpu(uint32_t* at, uint32_t value) {
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ __forceinline__ uint32_t load_relaxed_sys(const uint32_t* at) {
    uint32_t value;
    asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
    return value;
}
__device__ __forceinline__ uint32_t load_acquire_sys(const uint32_t* at) {
    uint32_t value;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
    return value;
}
__device__ __forceinline__ uint32_t load_relaxed_gpu(const uint32_t* at) {
    uint32_t value;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
    return value;
}
__device__ __forceinline__ uint32_t load_acquire_gpu(const uint32_t* at) {
    uint32_t value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
    return value;
}
// Two words of data, each with its flag behind it: 8 bytes that no reader sees by halves, two of them in one access.
__device__ __forceinline__ void store_flagged(uint4* at, uint32_t first, uint32_t second, uint32_t flag) {
    asm volatile("st.volatile.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(at), "r"(first), "r"(flag), "r"(second), "r"(flag)
                 : "memory");
}
__device__ __forceinline__ uint4 load_flagged(const uint4* at) {
    uint4 v;
    asm volatile("ld.volatile.global.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(at)
                 : "memory");
    return v;
}
__device__ __forceinline__ bool has_flags(const uint4& v, uint32_t flag) { return v.y == flag && v.w == flag; }
__device__ __forceinline__ void store_four(uint4* at, uint4 v) {
    asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
}
__device__ __forceinline__ uint4 load_four(const uint4* at) {
    uint4 v;
    asm volatile("ld.relaxed.sys.global.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(at)
                 : "memory");
    return v;
}

// ---- work shared out ------------------------------------------------------------------------------------------------------

// A block's share of some words, in whole groups of `unit`; the last blocks may have less or none.
struct Slice {
    size_t first, last;
};

__device__ __forceinline__ Slice slice_of(size_t words, size_t unit, unsigned block) {
    const size_t share = (words / unit + gridDim.x - 1) / gridDim.x * unit, first = share * block;
    return {first, first + share < words ? first + share : words};
}

// ---- time -----------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ uint64_t now_ns() {
    uint64_t ns;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns)::"memory");
    return ns;
}

constexpr uint64_t LONGEST_WAIT_NS = 2'000'000'000;

// Polls until `seen()` is true; gives up after LONGEST_WAIT_NS or as soon as anybody else gave up.
template <class Seen>
__device__ __forceinline__ bool wait_until(Seen seen, const Faults& faults) {
    for (int poll = 0;; ++poll) {
        if (seen()) return true;
        if ((poll & 0xffff) == 0xffff) {
            const uint64_t start = now_ns();
            while (!seen()) {
                if (*faults.timed_out) return false;
                if (now_ns() - start > LONGEST_WAIT_NS) {
                    *faults.timed_out = 1;
                    return false;
                }
            }
            return true;
        }
    }
}

// A barrier of all blocks of one grid, by one counter that only grows; `round` counts from 1.
__device__ __forceinline__ bool grid_barrier(uint32_t* counter, uint32_t round, const Faults& faults) {
    __syncthreads();
    __shared__ bool passed;
    if (threadIdx.x == 0) {
        asm volatile("red.add.release.gpu.global.u32 [%0], 1;" ::"l"(counter) : "memory");
        const uint32_t all = round * gridDim.x;
        passed = wait_until([&] { return int32_t(load_acquire_gpu(counter) - all) >= 0; }, faults);
    }
    __syncthreads();
    return passed;
}

// Multiply-adds that no compiler removes; `count` sets how long.
__device__ __forceinline__ float busy(float seed, int count) {
    float a = seed, b = seed + 1.0f, c = seed + 2.0f, d = seed + 3.0f;
    for (int i = 0; i < count; ++i) {
        a = fmaf(a, 0.999f, 0.1f);
        b = fmaf(b, 0.998f, 0.2f);
        c = fmaf(c, 0.997f, 0.3f);
        d = fmaf(d, 0.996f, 0.4f);
    }
    return a + b + c + d;
}
