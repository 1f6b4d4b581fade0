// What one flag costs: from a store to the end of the reader's poll, half of a round trip.
#pragma once
#include "host.cuh"

enum class Signal { push_relaxed, push_release, data_release, pull_relaxed, pull_release, local_relaxed, local_release };

__device__ __forceinline__ void raise(Signal how, uint32_t* own, uint32_t* theirs, uint4* data, uint32_t round) {
    switch (how) {
        case Signal::push_relaxed: store_relaxed_sys(theirs, round); break;
        case Signal::push_release: store_release_sys(theirs, round); break;
        case Signal::data_release:
            store_four(data, make_uint4(round, round + 1, round + 2, round + 3));
            store_release_sys(theirs, round);
            break;
        case Signal::pull_relaxed: store_relaxed_sys(own, round); break;
        case Signal::pull_release: store_release_sys(own, round); break;
        case Signal::local_relaxed: store_relaxed_gpu(theirs, round); break;
        case Signal::local_release: store_release_gpu(theirs, round); break;
    }
}

__device__ __forceinline__ bool is_raised(Signal how, const uint32_t* own, const uint32_t* theirs, uint32_t round) {
    switch (how) {
        case Signal::push_relaxed: return load_relaxed_sys(own) == round;
        case Signal::push_release:
        case Signal::data_release: return load_acquire_sys(own) == round;
        case Signal::pull_relaxed: return load_relaxed_sys(theirs) == round;
        case Signal::pull_release: return load_acquire_sys(theirs) == round;
        case Signal::local_relaxed: return load_relaxed_gpu(own) == round;
        default: return load_acquire_gpu(own) == round;
    }
}

constexpr int PLACES = 16;

// Side 0 begins each of `trips` round trips of a sample; where both sides are one GPU they are its two blocks. The flags of one
// sample lie elsewhere than those of the next: how far a flag is from a poller depends on its part of the L2 cache.
template <Signal how>
__global__ void round_trips(Peers peers, int gpu, int samples, int trips, uint64_t* times, Faults faults) {
    const bool local = how == Signal::local_relaxed || how == Signal::local_release;
    const int side = local ? int(blockIdx.x) : gpu;
    char* own_base = peers.base[local ? 0 : side];
    char* their_base = peers.base[local ? 0 : 1 - side];
    uint4* data = reinterpret_cast<uint4*>(their_base + DATA);
    const uint4* arrived = reinterpret_cast<const uint4*>(own_base + DATA);
    uint32_t round = 0;
    for (int sample = 0; sample < samples; ++sample) {
        const int place = 8192 * (sample % PLACES);
        uint32_t* own = reinterpret_cast<uint32_t*>(own_base + FLAGS + place + 4096 * side);
        uint32_t* theirs = reinterpret_cast<uint32_t*>(their_base + FLAGS + place + 4096 * (1 - side));
        const uint64_t start = now_ns();
        for (int trip = 0; trip < trips; ++trip) {
            ++round;
            if (side == 0) raise(how, own, theirs, data, round);
            if (!wait_until([&] { return is_raised(how, own, theirs, round); }, faults)) return;
            if (how == Signal::data_release) {
                const uint4 seen = load_four(arrived);
                if (seen.x != round || seen.w != round + 3) *faults.wrong = 1;
            }
            if (side == 1) raise(how, own, theirs, data, round);
        }
        if (side == 0) {
            times[2 * sample] = start;
            times[2 * sample + 1] = now_ns();
        }
    }
}

template <Signal how>
void measure_signal(const Node& node, const char* variant) {
    constexpr int TRIPS = 100;
    const bool local = how == Signal::local_relaxed || how == Signal::local_release;
    node.clear();
    node.each([&](int gpu) {
        if (gpu > 1 || (local && gpu)) return;
        round_trips<how><<<local ? 2 : 1, 1, 0, node.stream[gpu]>>>(node.peers, gpu, node.samples, TRIPS, node.times,
                                                                   node.faults);
    });
    node.wait();
    report(node, {"signal", variant, local ? 1 : 2, size_t(how == Signal::data_release ? 16 : 4), 1, ""},
           taken(node, node.samples / 5, node.samples, 2.0 * TRIPS));
}

// The cost of a system fence with nothing under way, and behind a store into a peer's memory.
template <bool after_store>
__global__ void fences(Peers peers, int samples, int count, uint64_t* times) {
    uint32_t* theirs = reinterpret_cast<uint32_t*>(peers.base[1] + DATA);
    for (int sample = 0; sample < samples; ++sample) {
        const uint64_t start = now_ns();
        for (int i = 0; i < count; ++i) {
            if (after_store) store_relaxed_sys(theirs + i, uint32_t(i));
            asm volatile("fence.acq_rel.sys;" ::: "memory");
        }
        times[2 * sample] = start;
        times[2 * sample + 1] = now_ns();
    }
}

template <bool after_store>
void measure_fence(const Node& node) {
    constexpr int COUNT = 200;
    node.clear();
    CUDA(cudaSetDevice(0));
    fences<after_store><<<1, 1, 0, node.stream[0]>>>(node.peers, node.samples, COUNT, node.times);
    node.wait();
    report(node, {"fence", after_store ? "after a remote store" : "idle", after_store ? 2 : 1, 0, 1, ""},
           taken(node, node.samples / 5, node.samples, COUNT));
}

inline void measure_signals(const Node& node) {
    if (node.gpus > 1) {
        measure_signal<Signal::push_relaxed>(node, "push relaxed");
        measure_signal<Signal::push_release>(node, "push release");
        measure_signal<Signal::data_release>(node, "16 B then release");
        measure_signal<Signal::pull_relaxed>(node, "pull relaxed");
        measure_signal<Signal::pull_release>(node, "pull release");
    }
    measure_signal<Signal::local_relaxed>(node, "one GPU relaxed");
    measure_signal<Signal::local_release>(node, "one GPU release");
    measure_fence<false>(node);
    if (node.gpus > 1) measure_fence<true>(node);
}
