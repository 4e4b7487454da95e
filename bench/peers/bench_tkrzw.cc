// SPDX-License-Identifier: Apache-2.0
//
// bench_tkrzw.cc — tkrzw's HashDBM as an engine of the workloads.
//
// What is tuned: twice as many buckets as there will be keys, so that chains are short and nothing is rebuilt; a file
// that is mapped and made for parallel access (MemoryMapParallelFile), which begins at the size that it will reach, so
// that it is not mapped anew while it grows. Everything else is its default: updates in place, no checksums. Records
// are looked at in place through its processors, without a copy of our own. Batches of reads are single reads:
// those are faster (447 against 549 ns at a million keys), and a batch that locks many records starves a writer.
#include "engine.h"

#include <tkrzw_dbm_hash.h>
#include <tkrzw_file_mmap.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using tkrzw::DBM;
using tkrzw::HashDBM;

struct Store {
    std::unique_ptr<HashDBM> dbm;
    bool sync_each;
};

using Batch = std::vector<std::pair<std::string_view, DBM::RecordProcessor *>>;

void require(const tkrzw::Status &status, const char *what)
{
    if (status == tkrzw::Status::SUCCESS)
        return;
    std::fprintf(stderr, "bench: %s: %s\n", what, std::string(status).c_str());
    std::exit(1);
}

std::string_view view(bench_bytes bytes)
{
    return std::string_view(static_cast<const char *>(bytes.data), bytes.size);
}

// Touches and counts the records that are there: their first byte, or as bench_touch() does.
class Looker final : public DBM::RecordProcessor {
  public:
    explicit Looker(bool at_all_of_it) : at_all_of_it_(at_all_of_it) {}

    std::string_view ProcessFull(std::string_view, std::string_view value) override
    {
        bench_touch(value.data(), at_all_of_it_ ? value.size() : 1);
        found_++;
        return NOOP;
    }

    uint64_t found() const { return found_; }

  private:
    bool at_all_of_it_;
    uint64_t found_ = 0;
};

// Writes one value, whatever was there.
class Setter final : public DBM::RecordProcessor {
  public:
    explicit Setter(std::string_view value) : value_(value) {}
    std::string_view ProcessFull(std::string_view, std::string_view) override { return value_; }
    std::string_view ProcessEmpty(std::string_view) override { return value_; }

  private:
    std::string_view value_;
};

void *open_store(const bench_plan *plan)
{
    constexpr int64_t least_buckets = 1 << 16, bytes_per_key = 64;
    HashDBM::TuningParameters tuning;
    tuning.num_buckets = std::max<int64_t>(least_buckets, 2 * static_cast<int64_t>(plan->entries));
    auto file = std::make_unique<tkrzw::MemoryMapParallelFile>();
    const int64_t size = static_cast<int64_t>(plan->bytes) + bytes_per_key * static_cast<int64_t>(plan->entries);
    require(file->SetAllocationStrategy(4 * tuning.num_buckets + size, 2.0), "allocation");
    auto store = std::make_unique<Store>();
    store->dbm = std::make_unique<HashDBM>(std::move(file));
    store->sync_each = plan->sync == BENCH_SYNC_EACH;
    const int32_t how = plan->create ? tkrzw::File::OPEN_DEFAULT : tkrzw::File::OPEN_NO_CREATE;
    require(store->dbm->OpenAdvanced(plan->path, true, how, tuning), "opening a store");
    return store.release();
}

void close_store(void *opaque)
{
    std::unique_ptr<Store> store(static_cast<Store *>(opaque));
    require(store->dbm->Close(), "closing a store");
}

HashDBM &dbm_of(void *opaque)
{
    return *static_cast<Store *>(opaque)->dbm;
}

void put(void *opaque, const char *key, size_t key_size, const void *payload, size_t size)
{
    Setter setter(view({payload, size}));
    require(dbm_of(opaque).Process(std::string_view(key, key_size), &setter, true), "put");
    if (static_cast<Store *>(opaque)->sync_each)
        require(dbm_of(opaque).Synchronize(true), "sync");
}

void put_batch(void *opaque, const bench_list *list, size_t first, size_t count)
{
    std::vector<Setter> setters;
    Batch batch;
    setters.reserve(count);
    batch.reserve(count);
    for (size_t i = first; i < first + count; i++) {
        setters.emplace_back(view(list->payloads[i]));
        batch.emplace_back(view(list->keys[i]), &setters.back());
    }
    require(dbm_of(opaque).ProcessMulti(batch, true), "batch");
}

void *reader_begin(void *store)
{
    return store;
}

void reader_end(void *)
{
}

bool read_one(void *opaque, const char *key, size_t key_size)
{
    Looker looker(true);
    require(dbm_of(opaque).Process(std::string_view(key, key_size), &looker, false), "get");
    return looker.found() == 1;
}

uint64_t read_each(void *opaque, const bench_list *list, size_t first, size_t count)
{
    Looker looker(false);
    for (size_t i = first; i < first + count; i++)
        require(dbm_of(opaque).Process(view(list->keys[i]), &looker, false), "get");
    return looker.found();
}

uint64_t walk(void *opaque)
{
    Looker looker(false);
    require(dbm_of(opaque).ProcessEach(&looker, false), "iteration");
    return looker.found();
}

void compact(void *opaque)
{
    require(dbm_of(opaque).Rebuild(), "rebuilding");
}

bench_engine make_engine()
{
    bench_engine engine = {};
    engine.name = "tkrzw";
    engine.settings = "HashDBM over MemoryMapParallelFile, twice as many buckets as keys, file made at its final size; "
                      "W2d and W2d-8 with Synchronize(hard); no checksums; batches are not all or nothing when the "
                      "process dies; a file that was not closed is scanned and repaired on opening; updates in "
                      "place, so C1 has little to give back; R2 and R5-batch read one by one, which is faster than "
                      "its batches; W4s puts one value; no R4, it has no walk in parts";
    engine.open = open_store;
    engine.close = close_store;
    engine.put = put;
    engine.put_batch = put_batch;
    engine.reader_begin = reader_begin;
    engine.reader_end = reader_end;
    engine.read = read_one;
    engine.read_each = read_each;
    engine.read_batch = read_each;
    engine.walk = walk;
    engine.compact = compact;
    return engine;
}

} // namespace

int main(int argc, char **argv)
{
    const bench_engine engine = make_engine();
    return bench_engine_main(argc, argv, &engine, nullptr, 0);
}
