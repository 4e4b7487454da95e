/* SPDX-License-Identifier: Apache-2.0
 *
 * command_table.c — what each command is called, takes, does and prints.
 */
#include "command_table.h"

#include <string.h>

#define KEY_OPTIONS (SDI_CLI_BIT(HEX) | SDI_CLI_BIT(NAMESPACE))
#define CREATE_OPTIONS (SDI_CLI_BIT(SYNC) | SDI_CLI_BIT(CHECKSUM))
#define BAR_OPTIONS (SDI_CLI_BIT(PROGRESS) | SDI_CLI_BIT(NO_PROGRESS))

#define FINDINGS_JSON                                                                                                 \
    "\"entries_checked\", \"bytes_checked\", \"corrupt\" (a list of objects with \"offset\", \"end\", \"key_hash\", " \
    "\"live\", \"reason\"), \"damaged_tail_bytes\", \"room_ahead_bytes\" (zeros set aside for entries: no damage)"

const char sdi_cli_about[] =
    "A store is one file of payloads under keys. STORE is its path. It is created by write and import, and by copy and "
    "move as their target; all other commands want it to be there, and those that only read never change it. One "
    "process at a time can write; any number can read meanwhile.";

const char sdi_cli_about_json[] =
    "Member names and meanings are stable; members may be added. Sizes and offsets are numbers of bytes. A key hash is "
    "16 hexadecimal digits. Bytes of keys and paths that are not UTF-8 are shown as U+FFFD, and a second member with "
    "\"_hex\" behind its name then has all of them in hexadecimal.";

const char sdi_cli_about_sync[] =
    "Every command that writes syncs the store before it reports success: what was reported survives the loss of "
    "power. With --sync each commit within the command is synced as well, which matters for long imports.";

const sdi_cli_exit_text sdi_cli_exit_table[] = {
    {SDI_CLI_DONE, "done"},
    {SDI_CLI_NOT_FOUND, "a key was not found"},
    {SDI_CLI_USAGE, "wrong usage; nothing was done"},
    {SDI_CLI_IO, "input or output error; also, without a message, when a pipe was closed by its reader"},
    {SDI_CLI_DAMAGED, "damaged, or not a store"},
    {SDI_CLI_LOCKED, "locked: another process has the store open for writing, or, of reclaim, for reading"},
    {SDI_CLI_STALE, "an offset that was given is none of the store, or no longer: it was compacted"},
};
const size_t sdi_cli_exit_count = sizeof sdi_cli_exit_table / sizeof sdi_cli_exit_table[0];

const sdi_cli_command sdi_cli_command_table[] = {
    {
        .name = "read",
        .operands = "KEY",
        .summary = "print the value of a key",
        .description =
            "The bytes go to standard output as they are, and nothing else does. The checksum is verified before the "
            "first byte is printed. With -b the value is streamed through a buffer of that size instead, for values "
            "larger than memory; damage is then found at the end, and told by exit status 4.\n\n"
            "A binary value is not printed to a terminal unless -f is given.",
        .options = KEY_OPTIONS | SDI_CLI_BIT(BUFFER_SIZE) | SDI_CLI_BIT(FORCE) | SDI_CLI_BIT(AT),
        .least_operands = 1,
        .most_operands = 1,
        .run = sdi_cli_read,
        .examples = {{"simdrive photos.store read cat.jpg > cat.jpg", "get a value into a file"},
                     {"simdrive big.store read -b 4M disk.img | sha256sum", "stream through 4 MiB of memory"},
                     {"simdrive data.store read -x 00ff", "the key is the bytes 00 and FF"}},
    },
    {
        .name = "write",
        .operands = "KEY [VALUE]",
        .summary = "store a value under a key",
        .description =
            "Without VALUE it is read from standard input to its end and streamed, however long it is. A value that "
            "was there under KEY is replaced. The format cannot hold an empty value, nor the single byte 00. Write -- "
            "before a VALUE or KEY that begins with a dash.",
        .json = "One object: \"key\", \"key_hash\", \"size\", \"tail\".",
        .options = KEY_OPTIONS | CREATE_OPTIONS | SDI_CLI_BIT(BUFFER_SIZE) | SDI_CLI_BIT(JSON),
        .least_operands = 1,
        .most_operands = 2,
        .run = sdi_cli_write,
        .examples = {{"simdrive notes.store write greeting 'hello world'", "store an argument"},
                     {"simdrive photos.store write cat.jpg < cat.jpg", "store a file"},
                     {"tar c folder | simdrive backup.store write today", "store what a program prints"}},
    },
    {
        .name = "copy",
        .operands = "KEY TARGET",
        .summary = "copy a value to another store, under the same key",
        .description = "TARGET is created when it is not there. The checksum is verified on the way.",
        .json = "One object: \"key\", \"key_hash\", \"target\", \"target_tail\".",
        .options = KEY_OPTIONS | CREATE_OPTIONS | SDI_CLI_BIT(JSON),
        .least_operands = 2,
        .most_operands = 2,
        .completes = "file",
        .run = sdi_cli_copy,
        .examples = {{"simdrive a.store copy layer-1 b.store", "layer-1 is in both stores then"}},
    },
    {
        .name = "move",
        .operands = "KEY TARGET",
        .summary = "move a value to another store, under the same key",
        .description = "As copy, and then deleted here. The target is synced first: the key is never in neither store.",
        .json = "One object: \"key\", \"key_hash\", \"target\", \"target_tail\".",
        .options = KEY_OPTIONS | CREATE_OPTIONS | SDI_CLI_BIT(JSON),
        .least_operands = 2,
        .most_operands = 2,
        .completes = "file",
        .run = sdi_cli_move,
        .examples = {{"simdrive new.store move report-2019 archive.store", "report-2019 is in the archive only then"}},
    },
    {
        .name = "rename",
        .operands = "OLD NEW",
        .summary = "give a value another key",
        .description = "All or nothing. A value that was there under NEW is replaced.",
        .json = "One object: \"old_key\", \"key\" (the new one), \"key_hash\", \"tail\".",
        .options = KEY_OPTIONS | SDI_CLI_BIT(SYNC) | SDI_CLI_BIT(JSON),
        .least_operands = 2,
        .most_operands = 2,
        .run = sdi_cli_rename,
        .examples = {{"simdrive notes.store rename draft final", "what was read as draft is read as final"}},
    },
    {
        .name = "delete",
        .operands = "KEY...",
        .summary = "delete keys",
        .description =
            "All keys that are there are deleted together; those that are not are told, and the exit status is 1 then. "
            "The file gets smaller with the next compact.",
        .json = "One object: \"deleted\" (a count), \"tail\", \"keys\" (a list of objects with \"key\", \"key_hash\", "
                "\"deleted\").",
        .options = KEY_OPTIONS | SDI_CLI_BIT(SYNC) | SDI_CLI_BIT(JSON),
        .least_operands = 1,
        .most_operands = SDI_CLI_MANY,
        .run = sdi_cli_delete,
        .examples = {{"simdrive cache.store delete page-1 page-2", "delete two keys"},
                     {"simdrive data.store delete -x ''", "delete the empty key"}},
    },
    {
        .name = "compact",
        .operands = "",
        .summary = "give back the space of replaced and deleted values",
        .description =
            "The store is rewritten beside itself and then takes its own place: free space for the live values is "
            "needed meanwhile. Processes that read go on. A damaged store is not compacted. How much it would save is "
            "told by info.\n\n"
            "With --if-stale nothing is done, and that is told, when the file would get smaller by less than that part "
            "of it. An interrupt leaves the store as it was.",
        .json = "One object: \"file\", \"compacted\" (false when --if-stale was against it), \"saved_bytes\", "
                "\"file_size_before\", \"file_size\".",
        .options = BAR_OPTIONS | SDI_CLI_BIT(SYNC) | SDI_CLI_BIT(JSON) | SDI_CLI_BIT(IF_STALE),
        .run = sdi_cli_compact,
        .examples = {{"simdrive cache.store compact", "shrink the file"},
                     {"simdrive cache.store compact --if-stale 30", "for a daily job: only where it pays"}},
    },
    {
        .name = "reclaim",
        .operands = "",
        .summary = "give back the disk space of large replaced and deleted values in place",
        .description =
            "Holes are punched into the file where whole pages (4 KiB) of such values are. Its length and all offsets "
            "stay. Nothing is copied and no free space is needed, unlike compact, which gives back all the rest too. "
            "Refused with exit status 5 while another process has the store open, also for reading. Programs that are "
            "not simdrive and have mapped the file cannot be seen.",
        .json = "One object: \"file\", \"reclaimed_bytes\", \"disk_bytes_before\", \"disk_bytes\", \"file_size\".",
        .options = BAR_OPTIONS | SDI_CLI_BIT(SYNC) | SDI_CLI_BIT(JSON),
        .run = sdi_cli_reclaim,
        .examples = {{"simdrive images.store reclaim", "when there is no room for compact"}},
    },
    {
        .name = "info",
        .operands = "",
        .summary = "describe a store",
        .description = "Counts, sizes, checksum kind, damage that opening found, and what compact would save.",
        .json = "One object: \"file\", \"file_size\", \"tail\", \"entries\" (live), \"tombstones\", \"stale_entries\", "
                "\"live_bytes\", \"stale_bytes\", \"compaction_savings\", \"damaged_tail_bytes\", "
                "\"room_ahead_bytes\" (zeros that a writer has set aside for entries), \"corrupt_entries\" (found at "
                "opening), \"alignment\", \"index_bytes\", \"checksum\" (\"crc32c\" or \"crc32\"), "
                "\"damage\" (\"none\", \"tail\", \"middle\" or \"ambiguous\"), \"version\".",
        .options = SDI_CLI_BIT(JSON) | SDI_CLI_BIT(AT),
        .run = sdi_cli_info,
        .examples = {{"simdrive data.store info", "for people"},
                     {"simdrive data.store info --json | jq .compaction_savings", "for programs"}},
    },
    {
        .name = "stats",
        .operands = "",
        .summary = "tell what fills the file, and how it was opened",
        .description =
            "What the bytes of the file are, how long opening took and what it found, the size of the index. The store "
            "is opened for reading only; what is held, and the work done, are figures of one process, and this one has "
            "done nothing: a program asks for its own with simdrive_get_statistics(), which uses the same names.\n\n"
            "With --prometheus the metrics have a label \"store\", which is STORE as it was given: for a collector of "
            "text files, say.",
        .json = "One object: \"file\", \"file_size\", \"disk_bytes\", \"tail\", \"durable_tail\", \"entries\" (live), "
                "\"stale_entries\", \"tombstones\", \"live_bytes\", \"stale_bytes\", \"padding_bytes\", "
                "\"metadata_bytes\", \"damaged_tail_bytes\", \"room_ahead_bytes\", \"damage\" (\"none\", \"tail\", "
                "\"middle\" or \"ambiguous\"), \"corrupt_entries\", \"open_ns\", \"open_entries_walked\", "
                "\"open_from_saved_index\", \"read_only\", \"index_bytes\", \"index_keys\", \"index_slots\", "
                "\"index_saves\", \"index_saved_tail\", \"generations\", \"held_bytes\", \"pins\", \"writes\", "
                "\"deletes\", \"bytes_written\", \"commits\", \"batches\", \"syncs\", \"commit\" and \"sync\" (objects "
                "with \"count\", \"total_ns\", \"p50_ns\", \"p90_ns\", \"p99_ns\", \"p999_ns\", \"max_ns\"), "
                "\"quarantined_bytes\", \"poisoned\", \"append_map_wanted\", \"append_map_used\", "
                "\"append_map_status\", \"compaction_runs\", \"compaction_done\", "
                "\"compaction_total\", \"compactions\", \"compactions_failed\", \"compaction_status\" (the name of a "
                "status), \"compaction_saved_bytes\", \"compaction_pause_max_ns\", \"reclaimed_bytes\", \"version\".",
        .options = SDI_CLI_BIT(JSON) | SDI_CLI_BIT(PROMETHEUS),
        .run = sdi_cli_stats,
        .examples = {{"simdrive data.store stats", "for people"},
                     {"simdrive data.store stats --json | jq .padding_bytes", "for programs"},
                     {"simdrive data.store stats --prometheus > data.prom", "for a collector"}},
    },
    {
        .name = "metadata",
        .operands = "KEY",
        .summary = "tell where a value is in the file, and whether its checksum is right",
        .description = "With a wrong checksum the exit status is 4.",
        .json = "One object: \"key\", \"key_hash\", \"size\", \"total_size\", \"start\", \"end\", \"prev_offset\", "
                "\"checksum\" (a number), \"checksum_valid\".",
        .options = KEY_OPTIONS | SDI_CLI_BIT(JSON) | SDI_CLI_BIT(AT),
        .least_operands = 1,
        .most_operands = 1,
        .run = sdi_cli_metadata,
        .examples = {{"simdrive data.store metadata layer-1", "size, offsets and checksum of one value"}},
    },
    {
        .name = "exists",
        .operands = "KEY...",
        .summary = "tell whether keys are there",
        .description = "The exit status is 0 when all are there, otherwise 1. With -q nothing is printed.",
        .json = "One object: \"keys\" (a list of objects with \"key\", \"key_hash\", \"exists\"), \"found\", "
                "\"missing\".",
        .options = KEY_OPTIONS | SDI_CLI_BIT(JSON) | SDI_CLI_BIT(AT),
        .least_operands = 1,
        .most_operands = SDI_CLI_MANY,
        .run = sdi_cli_exists,
        .examples = {{"simdrive data.store exists -q layer-1 && echo yes", "ask in a script"}},
    },
    {
        .name = "list",
        .operands = "",
        .summary = "list the live entries, newest to oldest",
        .description =
            "Columns: key hash, size, offset of the first byte, and the key where it is known, its namespace behind "
            "it. The format keeps no keys, only their hashes; known are those of files stored by import.",
        .json = "One object on each line: \"key_hash\", \"size\", \"start\"; \"key\" where it is known; \"namespace\" "
                "where it has one; \"manifest\" (true) for what import keeps about a tree.",
        .options = SDI_CLI_BIT(JSON) | SDI_CLI_BIT(AT),
        .run = sdi_cli_list,
        .examples = {{"simdrive data.store list | sort -k2,2nr | head", "the largest values"},
                     {"simdrive site.store list --json | jq -r .key", "the paths of imported files"}},
    },
    {
        .name = "history",
        .operands = "KEY",
        .summary = "list the versions of a key, newest to oldest",
        .description =
            "Deletes are versions, too. Columns: tail, operation, size, and what is to be said of it: live (what read "
            "gives), damaged, reclaimed (its space was given back). With --at TAIL the commands that read show a "
            "store in which that version is the newest. Versions go with the next compact.",
        .json = "One object on each line: \"operation\" (\"put\" or \"delete\"), \"offset\" (the tail behind "
                "it), \"size\", \"checksum\" (a number), \"live\", \"damaged\", \"reclaimed\".",
        .options = KEY_OPTIONS | SDI_CLI_BIT(AT) | SDI_CLI_BIT(JSON),
        .least_operands = 1,
        .most_operands = 1,
        .run = sdi_cli_history,
        .examples = {{"simdrive notes.store history draft", "when was it written?"},
                     {"simdrive notes.store read --at 4184 draft", "the version that history shows at 4184"}},
    },
    {
        .name = "watch",
        .operands = "",
        .summary = "print each write and delete as it is made",
        .description =
            "One line for each, at once: tail, operation, key hash, size. Begins with what is written from now on; "
            "with --since behind a position that was printed before, or at the beginning (--since 0). When that is no "
            "position of the store any more, for it was compacted, the exit status is 6: begin anew.\n\n"
            "A line that says compacted tells that another process has compacted the store: everything that is in it "
            "follows, and what was deleted meanwhile may not be told. Damaged entries are told as such and passed "
            "over; the exit status is 4 at the end then. Ends with Ctrl-C, and as --count, --timeout and --no-wait "
            "say.",
        .json = "One object on each line: \"operation\" (\"put\", \"delete\", \"damaged\" or \"compacted\"), "
                "\"key_hash\", \"size\", \"reclaimed\" (true when its space was given back), \"offset\", "
                "\"check\" (16 hexadecimal digits), \"position\" (both, to be handed to --since). \"compacted\" "
                "has the last three only, \"damaged\" no size.",
        .options = SDI_CLI_BIT(SINCE) | SDI_CLI_BIT(COUNT_OF) | SDI_CLI_BIT(TIMEOUT) | SDI_CLI_BIT(NO_WAIT) |
                   SDI_CLI_BIT(JSON),
        .run = sdi_cli_watch,
        .examples = {{"simdrive data.store watch", "what happens, until Ctrl-C"},
                     {"simdrive data.store watch --since 0 --no-wait", "all that has happened"},
                     {"simdrive data.store watch --json | jq -r .key_hash", "for programs"}},
    },
    {
        .name = "import",
        .operands = "DIR",
        .summary = "store a folder tree",
        .description =
            "Each regular file below DIR becomes a value under its path, as in 'images/cat.jpg', and can be read as "
            "any other. With --namespace it becomes one of that namespace, so that several trees do not mix. Modes, "
            "times, empty files, folders, and symbolic links (as links, never followed) are kept in a manifest, so "
            "that export gives back the same tree. Owners, extended attributes and hard links are not kept.\n\n"
            "Importing again into the same store and namespace replaces what is in both trees and keeps the rest. "
            "What is no file, folder or link is told and left out; when something could not be read, the rest is "
            "stored and the exit status is 3.",
        .json = "One object: \"folder\", \"namespace\", \"files\" (short ones included), \"short_files\" (kept in the "
                "manifest: empty, or the single byte 00), \"folders\", \"symlinks\", \"bytes\", \"skipped\", "
                "\"unreadable\".",
        .options = BAR_OPTIONS | CREATE_OPTIONS | SDI_CLI_BIT(NAMESPACE) | SDI_CLI_BIT(JSON),
        .least_operands = 1,
        .most_operands = 1,
        .completes = "folder",
        .run = sdi_cli_import,
        .examples = {{"simdrive site.store import public/", "store a folder"},
                     {"simdrive site.store read images/logo.png > logo.png", "read one of its files"},
                     {"simdrive all.store import --namespace v2 public/", "one tree of several"}},
    },
    {
        .name = "export",
        .operands = "DIR",
        .summary = "give back an imported folder tree",
        .description =
            "DIR is made when it is not there. Files that are there already are left alone, and told, unless -f is "
            "given. Nothing is ever written outside of DIR: symbolic links in it are not followed. Files whose keys "
            "were deleted since the import are told as missing (exit status 1). Set-user and set-group bits of files "
            "are not given back.",
        .json = "One object: \"folder\", \"namespace\", \"files\", \"folders\", \"symlinks\", \"bytes\", \"missing\", "
                "\"damaged\", \"failed\".",
        .options = BAR_OPTIONS | SDI_CLI_BIT(NAMESPACE) | SDI_CLI_BIT(FORCE) | SDI_CLI_BIT(JSON) | SDI_CLI_BIT(AT),
        .least_operands = 1,
        .most_operands = 1,
        .completes = "folder",
        .run = sdi_cli_export,
        .examples = {{"simdrive site.store export restored/", "get the tree back"},
                     {"simdrive all.store export --namespace v2 restored/", "one tree of several"}},
    },
    {
        .name = "verify",
        .operands = "",
        .summary = "check every entry",
        .description =
            "Links, padding and checksums of all entries, live and replaced. The exit status is 4 when something is "
            "damaged. Bytes behind the last complete entry, as a broken-off write leaves them, are reported and are no "
            "damage: opening passes over them. Neither are replaced values whose space was given back by reclaim.",
        .json = "One object: \"file\", \"ok\", " FINDINGS_JSON ", \"reclaimed\" (a count).",
        .options = BAR_OPTIONS | SDI_CLI_BIT(JSON) | SDI_CLI_BIT(AT),
        .run = sdi_cli_verify,
        .examples = {{"simdrive data.store verify && echo intact", "check a store"},
                     {"simdrive data.store verify --json | jq '.corrupt[].key_hash'", "which keys are damaged"}},
    },
    {
        .name = "salvage",
        .operands = "OUT",
        .summary = "save what is intact of a damaged store to a new one",
        .description =
            "For each key its newest intact value, checksums verified. The damaged store is never changed; OUT must "
            "not exist. What could not be saved is told.",
        .json = "One object: \"file\", \"out\", \"entries_written\", \"bytes_written\", " FINDINGS_JSON ".",
        .options = BAR_OPTIONS | SDI_CLI_BIT(JSON),
        .least_operands = 1,
        .most_operands = 1,
        .completes = "file",
        .run = sdi_cli_salvage,
        .examples = {{"simdrive broken.store salvage saved.store", "save the rest"}},
    },
    {
        .name = "backup",
        .operands = "OUT",
        .summary = "copy the store, or what is new in it, while it may be written",
        .description =
            "OUT has the same bytes as the store had at that moment, and is synced. When there is no file of that "
            "name, all of the store is copied; a temporary name is used until it is complete. When OUT is an earlier "
            "backup of this store, what is new is appended to it, all or nothing. Anything else that has that name is "
            "left alone, a backup from before a compaction too (exit status 6).\n\n"
            "When OUT is -, the bytes go to standard output. With --since only those behind that position do, to - or "
            "to a new file: put behind the bytes that an earlier run gave, they make a whole store. Each run tells "
            "the position for the next one. After a compaction earlier positions are refused (exit status 6): begin "
            "without --since then.",
        .json = "One object, on standard error when OUT is -: \"file\", \"out\", \"entries_written\", "
                "\"bytes_written\", \"appended\" (true: to a backup that was there), \"offset\", \"check\", "
                "\"position\" (both, for the next --since).",
        .options = BAR_OPTIONS | SDI_CLI_BIT(SINCE) | SDI_CLI_BIT(FORCE) | SDI_CLI_BIT(JSON),
        .least_operands = 1,
        .most_operands = 1,
        .completes = "file",
        .run = sdi_cli_backup,
        .examples = {{"simdrive data.store backup copy.store", "make a copy, or bring it up to date"},
                     {"simdrive data.store backup - | ssh host 'cat > copy.store'", "all of it, to another machine"},
                     {"simdrive data.store backup --since \"$last\" - | ssh host 'cat >> copy.store'",
                      "what came since"}},
    },
    {
        .name = "bench",
        .operands = "",
        .summary = "measure this machine on a temporary store",
        .description =
            "STORE must not exist: it is created, measured and removed. For a quick look only; figures depend on what "
            "else the machine does.\n\n"
            "With --append map single values are stored into a map of the file's end, where the system and the file "
            "system have what that needs; where not, that is told.",
        .json = "One object: \"entries\", \"value_size\", \"batch\", \"kernels\", \"version\", \"append\" (\"write\" "
                "or \"map\": how single values were written), \"results\" (a list of objects with \"name\", "
                "\"operations\", \"bytes\", \"seconds\").",
        .options = BAR_OPTIONS | CREATE_OPTIONS | SDI_CLI_BIT(ENTRIES) | SDI_CLI_BIT(VALUE_SIZE) | SDI_CLI_BIT(JSON) |
                   SDI_CLI_BIT(APPEND),
        .run = sdi_cli_bench,
        .examples = {{"simdrive new.store bench", "the default workload"},
                     {"simdrive new.store bench --entries 1M --value-size 64", "another one"},
                     {"simdrive new.store bench --append map", "the faster way to write single small values"}},
    },
};
const size_t sdi_cli_command_count = sizeof sdi_cli_command_table / sizeof sdi_cli_command_table[0];

const sdi_cli_command *sdi_cli_command_find(const char *name) {
    for (size_t i = 0; i < sdi_cli_command_count; i++) {
        if (strcmp(sdi_cli_command_table[i].name, name) == 0) return &sdi_cli_command_table[i];
    }
    return NULL;
}

bool sdi_cli_command_takes(const sdi_cli_command *command, unsigned option) {
    return ((command->options | SDI_CLI_COMMON_OPTIONS) >> option & 1u) != 0;
}
