// What runs on the host: memory of every GPU that every GPU sees, launches, quantiles, lines of JSON.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "device.cuh"

#define CUDA(call)                                                                                                   \
    do {                                                                                                             \
        const cudaError_t status_ = (call);                                                                          \
        if (status_ != cudaSuccess) {                                                                                \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(status_));         \
            std::exit(1);                                                                                            \
        }                                                                                                            \
    } while (0)

constexpr size_t BUFFER_BYTES = size_t(1) << 30;

// Places in a GPU's buffer; everything another GPU writes lies apart by whole pages.
constexpr size_t FLAGS = 0;                        // 1 MiB of flags
constexpr size_t STATE = size_t(1) << 20;          // counters that only the owner uses
constexpr size_t DATA = size_t(16) << 20;          // what peers put here
constexpr size_t OWN = size_t(128) << 20;          // what the owner sends or sums into

struct Node {
    int gpus = 0;
    int sms = 0;
    Peers peers{};
    Faults faults{};
    int* host_gate = nullptr;
    uint64_t* times = nullptr;  // two words a sample, seen by host and GPUs
    int samples = 0;
    cudaStream_t stream[MAX_GPUS]{};
    cudaEvent_t begin[MAX_GPUS]{}, end[MAX_GPUS]{};

    template <class Body>
    void each(Body body) const {
        for (int gpu = 0; gpu < gpus; ++gpu) {
            CUDA(cudaSetDevice(gpu));
            body(gpu);
        }
    }
    void wait() const {
        each([&](int gpu) { CUDA(cudaStreamSynchronize(stream[gpu])); });
    }
    void clear() const {
        each([&](int gpu) { CUDA(cudaMemsetAsync(peers.base[gpu], 0, BUFFER_BYTES, stream[gpu])); });
        wait();
        *faults.timed_out = 0;
        *faults.wrong = 0;
    }
};

inline bool open_node(Node& node, int gpus, int samples) {
    node.gpus = gpus;
    node.samples = samples;
    void* shared = nullptr;
    CUDA(cudaHostAlloc(&shared, 4096 + sizeof(uint64_t) * 2 * samples, cudaHostAllocPortable | cudaHostAllocMapped));
    int* words = static_cast<int*>(shared);
    node.faults = Faults{words, words + 64};
    node.host_gate = words + 128;
    node.times = reinterpret_cast<uint64_t*>(words + 1024);
    for (int gpu = 0; gpu < gpus; ++gpu) {
        CUDA(cudaSetDevice(gpu));
        for (int peer = 0; peer < gpus; ++peer) {
            int can = 1;
            if (peer != gpu) CUDA(cudaDeviceCanAccessPeer(&can, gpu, peer));
            if (!can) {
                std::fprintf(stderr, "no-peer-access %d %d\n", gpu, peer);
                return false;
            }
            if (peer != gpu) CUDA(cudaDeviceEnablePeerAccess(peer, 0));
        }
        void* base = nullptr;
        CUDA(cudaMalloc(&base, BUFFER_BYTES));
        node.peers.base[gpu] = static_cast<char*>(base);
        CUDA(cudaStreamCreateWithFlags(&node.stream[gpu], cudaStreamNonBlocking));
        CUDA(cudaEventCreate(&node.begin[gpu]));
        CUDA(cudaEventCreate(&node.end[gpu]));
    }
    CUDA(cudaDeviceGetAttribute(&node.sms, cudaDevAttrMultiProcessorCount, 0));
    return true;
}

struct Row {
    std::string item, variant;
    int gpus = 1;
    size_t size_bytes = 0;
    int blocks = 1;
    std::string extra;  // further JSON members, each ", \"name\": value"
};

inline double quantile(const std::vector<double>& sorted, double share) {
    const double at = share * double(sorted.size() - 1);
    const size_t low = size_t(at);
    const size_t high = std::min(low + 1, sorted.size() - 1);
    return sorted[low] + (at - double(low)) * (sorted[high] - sorted[low]);
}

// Writes one line of JSON; `us` are the samples in microseconds. Returns the median.
inline double report(const Node& node, const Row& row, std::vector<double> us) {
    std::sort(us.begin(), us.end());
    const bool timed_out = *node.faults.timed_out != 0, wrong = *node.faults.wrong != 0;
    if (us.empty()) us.push_back(-1.0);
    std::printf("{\"item\": \"%s\", \"variant\": \"%s\", \"gpus\": %d, \"size_bytes\": %zu, \"blocks\": %d, "
                "\"median_us\": %.6g, \"p10_us\": %.6g, \"p90_us\": %.6g, \"min_us\": %.6g, \"samples\": %zu, "
                "\"correct\": %s, \"timed_out\": %s%s}\n",
                row.item.c_str(), row.variant.c_str(), row.gpus, row.size_bytes, row.blocks, quantile(us, 0.5),
                quantile(us, 0.1), quantile(us, 0.9), us.front(), us.size(), wrong ? "false" : "true",
                timed_out ? "true" : "false", row.extra.c_str());
    std::fflush(stdout);
    return quantile(us, 0.5);
}

// Samples that kernels left in node.times: nanoseconds from start to end, divided by the events between.
inline std::vector<double> taken(const Node& node, int first, int last, double events) {
    std::vector<double> us;
    for (int sample = first; sample < last; ++sample)
        us.push_back(1e-3 * double(node.times[2 * sample + 1] - node.times[2 * sample]) / events);
    return us;
}

// Holds a stream back until the host opens the gate, so that what is launched behind it waits for nothing of the host's.
__global__ void gate(volatile int* open, Faults faults) {
    wait_until([&] { return *open != 0; }, faults);
}

__global__ void warm(float* kept, int count) { kept[threadIdx.x] = busy(float(threadIdx.x), count); }

// Keeps all GPUs busy for about a second, so that their clocks are those of a GPU at work.
inline void warm_up(const Node& node) {
    for (int i = 0; i < 50; ++i)
        node.each([&](int gpu) {
            warm<<<node.sms, THREADS, 0, node.stream[gpu]>>>(reinterpret_cast<float*>(node.peers.base[gpu]), 2'000'000 / 50);
        });
    node.wait();
}

// Runs `enqueue(gpu)` on every GPU's stream behind a closed gate, and returns the time between its ends in microseconds,
// the longest over the GPUs.
inline double gated_us(const Node& node, const std::function<void(int)>& enqueue) {
    *node.host_gate = 0;
    node.each([&](int gpu) {
        gate<<<1, 1, 0, node.stream[gpu]>>>(node.host_gate, node.faults);
        CUDA(cudaEventRecord(node.begin[gpu], node.stream[gpu]));
    });
    node.each(enqueue);
    node.each([&](int gpu) { CUDA(cudaEventRecord(node.end[gpu], node.stream[gpu])); });
    *node.host_gate = 1;
    node.wait();
    float longest = 0.0f;
    node.each([&](int gpu) {
        float ms = 0.0f;
        CUDA(cudaEventElapsedTime(&ms, node.begin[gpu], node.end[gpu]));
        longest = std::max(longest, ms);
    });
    return 1e3 * double(longest);
}
