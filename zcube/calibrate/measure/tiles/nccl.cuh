// NCCL's all-reduce of the same message, its library opened while running where one is given.
#pragma once
#include <dlfcn.h>

#include "all_reduces.cuh"
#include "launches.cuh"

struct Nccl {
    using Communicator = void*;
    int (*version)(int*) = nullptr;
    int (*open_all)(Communicator*, int, const int*) = nullptr;
    int (*all_reduce)(const void*, void*, size_t, int, int, Communicator, cudaStream_t) = nullptr;
    int (*begin)() = nullptr;
    int (*end)() = nullptr;
    int (*close)(Communicator) = nullptr;
};

constexpr int NCCL_BF16 = 9, NCCL_SUM = 0;

inline bool open_nccl(Nccl& nccl, const char* path) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
    const auto find = [&](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
        return function != nullptr;
    };
    return find(nccl.version, "ncclGetVersion") && find(nccl.open_all, "ncclCommInitAll") &&
           find(nccl.all_reduce, "ncclAllReduce") && find(nccl.begin, "ncclGroupStart") && find(nccl.end, "ncclGroupEnd") &&
           find(nccl.close, "ncclCommDestroy");
}

// One all-reduce of all GPUs, each on its stream.
inline void nccl_once(const Node& node, const Nccl& nccl, Nccl::Communicator* communicators, size_t elements) {
    nccl.begin();
    for (int gpu = 0; gpu < node.gpus; ++gpu)
        if (nccl.all_reduce(node.peers.base[gpu] + OWN, node.peers.base[gpu] + OWN + SLOT, elements, NCCL_BF16, NCCL_SUM,
                            communicators[gpu], node.stream[gpu]))
            *node.faults.wrong = 1;
    nccl.end();
}

// Captures `count` all-reduces as one graph over all GPUs: the other streams fork from GPU 0's and join it again.
inline cudaGraphExec_t nccl_graph(const Node& node, const Nccl& nccl, Nccl::Communicator* communicators, size_t elements,
                                  int count) {
    cudaGraph_t graph;
    cudaGraphExec_t built;
    cudaEvent_t fork, join[MAX_GPUS];
    CUDA(cudaSetDevice(0));
    CUDA(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    CUDA(cudaStreamBeginCapture(node.stream[0], cudaStreamCaptureModeRelaxed));
    CUDA(cudaEventRecord(fork, node.stream[0]));
    for (int gpu = 1; gpu < node.gpus; ++gpu) CUDA(cudaStreamWaitEvent(node.stream[gpu], fork, 0));
    for (int i = 0; i < count; ++i) nccl_once(node, nccl, communicators, elements);
    for (int gpu = 1; gpu < node.gpus; ++gpu) {
        CUDA(cudaSetDevice(gpu));
        CUDA(cudaEventCreateWithFlags(&join[gpu], cudaEventDisableTiming));
        CUDA(cudaEventRecord(join[gpu], node.stream[gpu]));
        CUDA(cudaStreamWaitEvent(node.stream[0], join[gpu], 0));
    }
    CUDA(cudaSetDevice(0));
    CUDA(cudaStreamEndCapture(node.stream[0], &graph));
    CUDA(cudaGraphInstantiate(&built, graph, 0));
    CUDA(cudaGraphDestroy(graph));
    return built;
}

inline void measure_nccl(const Node& node, const char* path, const std::vector<size_t>& sizes) {
    Nccl nccl;
    if (!path || !*path || !open_nccl(nccl, path)) {
        std::fprintf(stderr, "no NCCL: its all-reduces are left out\n");
        return;
    }
    int version = 0, devices[MAX_GPUS]{0, 1, 2, 3, 4, 5, 6, 7};
    Nccl::Communicator communicators[MAX_GPUS]{};
    nccl.version(&version);
    if (nccl.open_all(communicators, node.gpus, devices)) {
        std::fprintf(stderr, "NCCL does not start: its all-reduces are left out\n");
        return;
    }
    const std::string extra = ", \"nccl\": " + std::to_string(version);
    for (const size_t size : sizes) {
        const AllReduce job{node.peers, node.faults, node.gpus, size / 4, false};
        for (const bool graph : {false, true}) {
            node.clear();
            node.each([&](int gpu) { first_own<<<8, THREADS, 0, node.stream[gpu]>>>(job, gpu); });
            node.wait();
            constexpr int COUNT = 20;
            cudaGraphExec_t built = graph ? nccl_graph(node, nccl, communicators, size / 2, COUNT) : nullptr;
            std::vector<double> us;
            for (int sample = 0; sample < 32; ++sample) {
                // Not behind a gate: a kernel that waits for the host would hold back what NCCL starts itself.
                CUDA(cudaSetDevice(0));
                CUDA(cudaEventRecord(node.begin[0], node.stream[0]));
                if (built) CUDA(cudaGraphLaunch(built, node.stream[0]));
                else
                    for (int i = 0; i < COUNT; ++i) nccl_once(node, nccl, communicators, size / 2);
                CUDA(cudaSetDevice(0));
                CUDA(cudaEventRecord(node.end[0], node.stream[0]));
                node.wait();
                float ms = 0.0f;
                CUDA(cudaEventElapsedTime(&ms, node.begin[0], node.end[0]));
                if (sample > 1) us.push_back(1e3 * double(ms) / COUNT);
            }
            node.each([&](int gpu) { last_sum<<<8, THREADS, 0, node.stream[gpu]>>>(job, gpu); });
            node.wait();
            report(node, {"all-reduce", graph ? "NCCL, graph" : "NCCL, eager", node.gpus, size, 0, extra}, us);
            if (built) CUDA(cudaGraphExecDestroy(built));
        }
    }
    for (int gpu = 0; gpu < node.gpus; ++gpu) nccl.close(communicators[gpu]);
}

template <Handover how>
void measure_launched(const Node& node, const AllReduce& job, size_t size_bytes, int blocks, const char* variant) {
    const struct {
        Chain kind;
        const char* name;
    } chains[] = {{Chain::stream, "stream, "}, {Chain::graph, "graph, "}, {Chain::dependent, "graph, dependent launch, "}};
    for (const auto& chain : chains) {
        prepare<how>(node);
        node.each([&](int gpu) { first_own<<<blocks, THREADS, 0, node.stream[gpu]>>>(job, gpu); });
        node.wait();
        const auto us = chain_us(node, node.gpus, chain.kind, CHAIN, 30, [&](int gpu, bool dependent) {
            if (dependent) launch(node.stream[gpu], blocks, true, launched_all_reduce<how, true>, job, gpu);
            else launch(node.stream[gpu], blocks, false, launched_all_reduce<how, false>, job, gpu);
        });
        node.each([&](int gpu) { last_sum<<<blocks, THREADS, 0, node.stream[gpu]>>>(job, gpu); });
        node.wait();
        report(node, {"all-reduce", std::string(chain.name) + variant, job.gpus, size_bytes, blocks, ""},
               per_event(us, 0.0, CHAIN));
    }
}

template <Handover how>
void measure_handover(const Node& node, size_t size, int blocks, const char* variant) {
    for (const bool barrier : {false, true}) {
        const AllReduce job{node.peers, node.faults, node.gpus, size / 4, barrier};
        measure_persistent<how>(node, job, size, blocks, variant);
    }
    measure_launched<how>(node, AllReduce{node.peers, node.faults, node.gpus, size / 4, false}, size, blocks, variant);
}

inline void measure_all_reduces(const Node& node, const char* nccl_path) {
    const std::vector<size_t> sizes{12288, 49152};
    for (const size_t size : sizes)
        for (const int blocks : {2, 4, 8, 16, 32}) {
            measure_handover<Handover::flag_a_block>(node, size, blocks, "flag a block");
            measure_handover<Handover::flag_a_word>(node, size, blocks, "flag a word");
            measure_handover<Handover::sentinel>(node, size, blocks, "sentinel");
        }
    measure_nccl(node, nccl_path, sizes);
}
