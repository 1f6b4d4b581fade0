// What lies between two kernels, and what a barrier inside one costs instead.
#pragma once
#include <cooperative_groups.h>

#include "host.cuh"

constexpr int CHAIN = 100;  // kernels of one sample

enum class Chain { stream, graph, dependent };

__device__ __forceinline__ void spin(int cycles) {
    const long long start = clock64();
    while (clock64() - start < cycles) {
    }
}

template <bool dependent>
__global__ void __launch_bounds__(THREADS) short_kernel(int cycles) {
    if (dependent) {
        asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
        asm volatile("griddepcontrol.wait;" ::: "memory");
    }
    spin(cycles);
}

__global__ void __launch_bounds__(THREADS) one_kernel(int cycles, int count) {
    for (int i = 0; i < count; ++i) spin(cycles);
}

// Launches `kernel` in a stream, with or without programmatic dependent launch.
template <class... Parameters, class... Arguments>
void launch(cudaStream_t stream, int blocks, bool dependent, void (*kernel)(Parameters...), Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(THREADS);
    config.stream = stream;
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = dependent ? 1 : 0;
    CUDA(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
}

// Microseconds of `count` launches that `enqueue(gpu, dependent)` makes one by one, as a sample.
inline std::vector<double> chain_us(const Node& node, int gpus, Chain how, int count, int samples,
                                    const std::function<void(int, bool)>& enqueue) {
    std::vector<double> us;
    cudaGraphExec_t built[MAX_GPUS]{};
    const bool dependent = how == Chain::dependent;
    if (how != Chain::stream) {
        node.each([&](int gpu) {
            if (gpu >= gpus) return;
            cudaGraph_t graph;
            CUDA(cudaStreamBeginCapture(node.stream[gpu], cudaStreamCaptureModeThreadLocal));
            for (int i = 0; i < count; ++i) enqueue(gpu, dependent);
            CUDA(cudaStreamEndCapture(node.stream[gpu], &graph));
            CUDA(cudaGraphInstantiate(&built[gpu], graph, 0));
            CUDA(cudaGraphUpload(built[gpu], node.stream[gpu]));
            CUDA(cudaGraphDestroy(graph));
        });
        node.wait();
    }
    for (int sample = 0; sample < samples + 2; ++sample) {
        const double took = gated_us(node, [&](int gpu) {
            if (gpu >= gpus) return;
            if (built[gpu]) CUDA(cudaGraphLaunch(built[gpu], node.stream[gpu]));
            else
                for (int i = 0; i < count; ++i) enqueue(gpu, false);
        });
        if (sample > 1) us.push_back(took);
    }
    node.each([&](int gpu) {
        if (built[gpu]) CUDA(cudaGraphExecDestroy(built[gpu]));
    });
    return us;
}

inline std::vector<double> per_event(std::vector<double> us, double off_us, double events) {
    for (double& value : us) value = (value - off_us) / events;
    return us;
}

inline void measure_boundaries(const Node& node) {
    constexpr int CYCLES = 4000;
    const int samples = 30;
    auto one = chain_us(node, 1, Chain::graph, 1, samples,
                        [&](int gpu, bool) { launch(node.stream[gpu], node.sms, false, one_kernel, CYCLES, CHAIN); });
    std::sort(one.begin(), one.end());
    const double alone_us = quantile(one, 0.5);
    const struct {
        Chain how;
        const char* name;
    } chains[] = {{Chain::stream, "stream"}, {Chain::graph, "graph"}, {Chain::dependent, "graph, dependent launch"}};
    for (const auto& chain : chains) {
        node.clear();
        const auto us = chain_us(node, 1, chain.how, CHAIN, samples, [&](int gpu, bool dependent) {
            if (dependent) launch(node.stream[gpu], node.sms, true, short_kernel<true>, CYCLES);
            else launch(node.stream[gpu], node.sms, false, short_kernel<false>, CYCLES);
        });
        // The first of a chain has no boundary before it.
        report(node, {"kernel-boundary", chain.name, 1, 0, node.sms, ""}, per_event(us, alone_us, CHAIN - 1));
    }
}

enum class Barrier { counter, cooperative, all_gpus };

// A barrier of the blocks of all GPUs: blocks of a GPU meet at its counter, one thread a GPU meets the others' by flags.
__device__ __forceinline__ bool node_barrier(Peers peers, int gpus, int gpu, uint32_t round, const Faults& faults) {
    uint32_t* counter = reinterpret_cast<uint32_t*>(peers.base[gpu] + STATE);
    uint32_t* open = counter + 1024;
    __shared__ bool passed;
    __syncthreads();
    if (threadIdx.x == 0) {
        passed = true;
        uint32_t before;
        asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
        if (before + 1 == round * gridDim.x) {
            for (int other = 0; other < gpus; ++other)
                if (other != gpu)
                    store_release_sys(reinterpret_cast<uint32_t*>(peers.base[other] + FLAGS + size_t(gpu) * 4096), round);
            for (int other = 0; other < gpus; ++other)
                if (other != gpu) {
                    const uint32_t* flag = reinterpret_cast<uint32_t*>(peers.base[gpu] + FLAGS + size_t(other) * 4096);
                    passed &= wait_until([&] { return int32_t(load_acquire_sys(flag) - round) >= 0; }, faults);
                }
            store_release_gpu(open, round);
        }
        passed &= wait_until([&] { return int32_t(load_acquire_gpu(open) - round) >= 0; }, faults);
    }
    __syncthreads();
    return passed;
}

template <Barrier how>
__global__ void __launch_bounds__(THREADS) barriers(Peers peers, int gpus, int gpu, int samples, int count, uint64_t* times,
                                                    Faults faults) {
    uint32_t round = 0;
    for (int sample = 0; sample < samples; ++sample) {
        if (gpu == 0 && blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample] = now_ns();
        for (int i = 0; i < count; ++i) {
            ++round;
            if constexpr (how == Barrier::counter) {
                if (!grid_barrier(reinterpret_cast<uint32_t*>(peers.base[gpu] + STATE), round, faults)) return;
            } else if constexpr (how == Barrier::cooperative) {
                cooperative_groups::this_grid().sync();
            } else {
                if (!node_barrier(peers, gpus, gpu, round, faults)) return;
            }
        }
        if (gpu == 0 && blockIdx.x == 0 && threadIdx.x == 0) times[2 * sample + 1] = now_ns();
    }
}

template <Barrier how>
void measure_barrier(const Node& node, const char* variant, int gpus) {
    constexpr int COUNT = 100;
    node.clear();
    node.each([&](int gpu) {
        if (gpu >= gpus) return;
        Peers peers = node.peers;
        int samples = node.samples, count = COUNT;
        uint64_t* times = node.times;
        Faults faults = node.faults;
        void* arguments[] = {&peers, &gpus, &gpu, &samples, &count, &times, &faults};
        CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(barriers<how>), dim3(node.sms), dim3(THREADS), arguments, 0,
                                         node.stream[gpu]));
    });
    node.wait();
    report(node, {"barrier", variant, gpus, 0, node.sms, ""}, taken(node, node.samples / 5, node.samples, COUNT));
}

inline void measure_launches(const Node& node) {
    measure_boundaries(node);
    measure_barrier<Barrier::counter>(node, "one counter", 1);
    measure_barrier<Barrier::cooperative>(node, "cooperative groups", 1);
    if (node.gpus > 1) measure_barrier<Barrier::all_gpus>(node, "all GPUs", node.gpus);
}
