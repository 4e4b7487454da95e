// SPDX-License-Identifier: Apache-2.0
//
// main.cc — registers the bodies of micro.h with Google Benchmark, and nothing else.
//
// Names are module/operation/variant/size, so that --benchmark_filter chooses by module: 'index/', 'kernel/crc32c'.
// Stores are made in the folder that BENCH_DIRECTORY names, /dev/shm without it.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "micro.h"

namespace {

const char *directory()
{
    const char *chosen = std::getenv("BENCH_DIRECTORY");
    return chosen != nullptr ? chosen : "/dev/shm";
}

// One turn of the clock is many operations: `each` is the time of one, `items_per_second` how many.
void report_operations(benchmark::State &state, double in_turn)
{
    using benchmark::Counter;
    state.counters["each"] = Counter(in_turn, Counter::kIsIterationInvariantRate | Counter::kInvert);
    state.SetItemsProcessed(static_cast<std::int64_t>(static_cast<double>(state.iterations()) * in_turn));
}

// ----- kernels -----

constexpr std::size_t half_page = 2048; // apart, or loads would wait for stores at the same place of another page
constexpr std::size_t line = 64;

// Source and target, each on a line of the cache.
class Buffers {
  public:
    explicit Buffers(std::size_t size) : memory_(2 * size + half_page + 4 * line, 1)
    {
        auto start = reinterpret_cast<std::uintptr_t>(memory_.data());
        from_ = memory_.data() + (line - start % line);
        to_ = from_ + (size + line - 1) / line * line + half_page;
        for (std::size_t i = 0; i < size; i++)
            from_[i] = static_cast<unsigned char>(i * 2654435761U >> 13);
    }
    unsigned char *from() { return from_; }
    unsigned char *to() { return to_; }

  private:
    std::vector<unsigned char> memory_;
    unsigned char *from_;
    unsigned char *to_;
};

void kernel(benchmark::State &state, std::size_t set, micro_kernel_operation operation)
{
    auto size = static_cast<std::size_t>(state.range(0));
    std::size_t calls = size <= 4096 ? 64 : 1;
    Buffers buffers(size);
    for (auto _ : state)
        benchmark::DoNotOptimize(micro_kernel_run(set, operation, buffers.to(), buffers.from(), size, calls));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * calls * size));
}

void register_kernels()
{
    const std::vector<std::int64_t> sizes = {8, 32, 128, 256, 512, 1024, 4096, 256 << 10, 64 << 20};
    for (std::size_t set = 0; set < micro_kernel_sets(); set++) {
        for (int i = 0; i < MICRO_KERNEL_OPERATIONS; i++) {
            auto operation = static_cast<micro_kernel_operation>(i);
            if (!micro_kernel_has(set, operation))
                continue;
            std::string name = std::string("kernel/") + micro_kernel_operation_name(operation) + "/"
                               + micro_kernel_set_name(set);
            auto *one = benchmark::RegisterBenchmark(
                name.c_str(), [=](benchmark::State &state) { kernel(state, set, operation); });
            for (std::int64_t size : sizes)
                one->Arg(size);
        }
    }
}

// ----- hashes -----

template <typename Body> void hash(benchmark::State &state, Body body)
{
    constexpr std::size_t keys = 1024;
    auto size = static_cast<std::size_t>(state.range(0));
    std::vector<unsigned char> bytes(keys * size);
    for (std::size_t i = 0; i < bytes.size(); i++)
        bytes[i] = static_cast<unsigned char>(i * 2654435761U >> 13);
    for (auto _ : state)
        benchmark::DoNotOptimize(body(bytes.data(), size, keys));
    report_operations(state, keys);
}

void register_hashes()
{
    for (std::int64_t size : {8, 16, 32, 64, 256, 4096}) {
        benchmark::RegisterBenchmark(
            "hash/independent", [](benchmark::State &state) { hash(state, micro_hash_independent); })->Arg(size);
        benchmark::RegisterBenchmark(
            "hash/waited-for", [](benchmark::State &state) { hash(state, micro_hash_dependent); })->Arg(size);
    }
}

// ----- index -----

// The one that was used last is kept: filling it takes longer than most measurements.
micro_index *index_of(std::int64_t keys)
{
    static std::unique_ptr<micro_index, decltype(&micro_index_free)> kept(nullptr, micro_index_free);
    static std::int64_t size = 0;
    if (size != keys) {
        kept.reset();
        kept.reset(micro_index_new(static_cast<std::uint64_t>(keys)));
        size = keys;
    }
    return kept.get();
}

template <typename Body> void lookups(benchmark::State &state, Body body)
{
    micro_index *index = index_of(state.range(0));
    for (auto _ : state)
        benchmark::DoNotOptimize(body(index));
    report_operations(state, MICRO_BATCH);
}

void build(benchmark::State &state, micro_build how)
{
    micro_index *index = index_of(state.range(0));
    micro_build_report report = {};
    double longest = 0;
    for (auto _ : state) {
        micro_index_build(index, how, &report);
        longest = report.longest_ns > longest ? report.longest_ns : longest;
    }
    report_operations(state, static_cast<double>(state.range(0)));
    state.counters["bytes_per_key"] = report.bytes_per_key;
    if (how == MICRO_PUT)
        state.counters["longest_32_us"] = longest / 1e3;
}

template <typename Body> void register_lookups(const char *name, std::int64_t keys, Body body)
{
    benchmark::RegisterBenchmark(name, [=](benchmark::State &state) { lookups(state, body); })->Arg(keys);
}

void register_build(const char *name, std::int64_t keys, micro_build how)
{
    benchmark::RegisterBenchmark(name, [=](benchmark::State &state) { build(state, how); })
        ->Arg(keys)->Unit(benchmark::kMillisecond);
}

void register_indexes()
{
    for (std::int64_t keys : {100000, 1000000, 20000000}) {
        register_lookups("index/find", keys, [](micro_index *one) { return micro_index_find(one, false); });
        register_lookups("index/find/missing", keys, [](micro_index *one) { return micro_index_find(one, true); });
        register_lookups("index/find/waited-for", keys, micro_index_find_dependent);
        register_lookups("index/find_batch", keys, [](micro_index *one) { return micro_index_find_batch(one, false); });
        register_lookups("index/find_batch/missing", keys,
                         [](micro_index *one) { return micro_index_find_batch(one, true); });
        register_lookups("index/put_batch/known", keys, micro_index_replace_batch);
        register_build("index/build/add_batch_expected", keys, MICRO_ADD_EXPECTED);
        register_build("index/build/add_batch_growing", keys, MICRO_ADD_GROWING);
        register_build("index/build/put_batch", keys, MICRO_PUT_BATCH);
        register_build("index/build/put", keys, MICRO_PUT);
    }
}

// ----- stores -----

void publish(benchmark::State &state, bool batch)
{
    auto count = static_cast<std::size_t>(state.range(0));
    std::unique_ptr<micro_store, decltype(&micro_store_free)> store(micro_store_new(directory()), micro_store_free);
    for (auto _ : state) {
        if (batch)
            micro_store_append_batch(store.get(), count);
        else
            micro_store_append_each(store.get(), count);
    }
    report_operations(state, static_cast<double>(count));
}

void recover(benchmark::State &state, std::size_t torn_bytes)
{
    std::unique_ptr<micro_store, decltype(&micro_store_free)> store(
        micro_store_filled(directory(), static_cast<std::uint64_t>(state.range(0)), torn_bytes), micro_store_free);
    for (auto _ : state)
        benchmark::DoNotOptimize(micro_store_open(store.get()));
    report_operations(state, static_cast<double>(state.range(0)));
}

void register_stores()
{
    constexpr std::size_t torn = 1 << 20;
    benchmark::RegisterBenchmark("publish/one", [](benchmark::State &state) { publish(state, false); })->Arg(1);
    auto *batches = benchmark::RegisterBenchmark("publish/batch",
                                                 [](benchmark::State &state) { publish(state, true); });
    batches->Arg(1)->Arg(16)->Arg(1024);
    for (std::int64_t entries : {10000, 100000, 1000000}) {
        benchmark::RegisterBenchmark("recover/whole", [](benchmark::State &state) { recover(state, 0); })
            ->Arg(entries)->Unit(benchmark::kMillisecond);
        benchmark::RegisterBenchmark("recover/torn", [](benchmark::State &state) { recover(state, torn); })
            ->Arg(entries)->Unit(benchmark::kMillisecond);
    }
}

} // namespace

int main(int argc, char **argv)
{
    register_kernels();
    register_hashes();
    register_indexes();
    register_stores();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
