/* SPDX-License-Identifier: Apache-2.0
 *
 * options.c — parses the command line's options after the table below.
 */
#include "options.h"

#include <string.h>

#include "output.h"
#include "position.h"

const sdi_cli_option sdi_cli_option_table[SDI_CLI_OPTION_COUNT] = {
    [SDI_CLI_OPTION_HELP] = {"h", "help", NULL, NULL, "explain the command, with examples"},
    [SDI_CLI_OPTION_VERSION] = {"V", "version", NULL, NULL, "print the version"},
    [SDI_CLI_OPTION_QUIET] = {"q", "quiet", NULL, NULL, "no notes and no progress; errors are still told"},
    [SDI_CLI_OPTION_VERBOSE] = {"v", "verbose", NULL, NULL, "tell on standard error what is done"},
    [SDI_CLI_OPTION_JSON] = {NULL, "json", NULL, NULL, "report in JSON on standard output"},
    [SDI_CLI_OPTION_PROMETHEUS] = {NULL, "prometheus", NULL, NULL, "report in the text format of Prometheus"},
    [SDI_CLI_OPTION_HEX] = {"x", "hex", NULL, NULL,
                            "keys are given in hexadecimal: any bytes; '' is the empty key"},
    [SDI_CLI_OPTION_NAMESPACE] = {"n", "namespace", "NS", NULL, "keys, or the imported tree, belong to namespace NS"},
    [SDI_CLI_OPTION_BUFFER_SIZE] = {"b", "buffer-size", "SIZE", NULL,
                                    "stream through a buffer of SIZE bytes (suffixes K, M, G)"},
    [SDI_CLI_OPTION_FORCE] = {"f", "force", NULL, NULL,
                              "print binary data to a terminal; let export replace existing files"},
    [SDI_CLI_OPTION_SYNC] = {NULL, "sync", NULL, NULL,
                             "sync each commit, not only once before success is reported"},
    [SDI_CLI_OPTION_CHECKSUM] = {NULL, "checksum", "KIND", "crc32c crc32",
                                 "checksum of a new store: crc32c (default), or crc32 as the Rust tool checks it"},
    [SDI_CLI_OPTION_PROGRESS] = {NULL, "progress", NULL, NULL, "show progress even if standard error is no terminal"},
    [SDI_CLI_OPTION_NO_PROGRESS] = {NULL, "no-progress", NULL, NULL, "never show progress"},
    [SDI_CLI_OPTION_ENTRIES] = {NULL, "entries", "N", NULL, "number of entries, default 100000 (suffixes K, M, G)"},
    [SDI_CLI_OPTION_VALUE_SIZE] = {NULL, "value-size", "SIZE", NULL, "bytes of each value, default 128"},
    [SDI_CLI_OPTION_SINCE] = {NULL, "since", "OFFSET[:CHECK]", NULL,
                              "begin behind this position, as an earlier run told it; 0 is the beginning"},
    [SDI_CLI_OPTION_COUNT_OF] = {NULL, "count", "N", NULL, "end after N changes"},
    [SDI_CLI_OPTION_TIMEOUT] = {NULL, "timeout", "MS", NULL, "end when nothing has come for MS milliseconds"},
    [SDI_CLI_OPTION_NO_WAIT] = {NULL, "no-wait", NULL, NULL, "end when there is no more"},
    [SDI_CLI_OPTION_AT] = {NULL, "at", "OFFSET", NULL, "show the store as it was when its tail was OFFSET"},
    [SDI_CLI_OPTION_IF_STALE] = {NULL, "if-stale", "PERCENT", NULL,
                                 "only when the file would get smaller by at least PERCENT, 1 to 100"},
    [SDI_CLI_OPTION_SAVED_INDEX] = {NULL, "saved-index", "MODE", "auto off always",
                                    "the index beside the store: auto (default), off, or always saved"},
    [SDI_CLI_OPTION_APPEND] = {NULL, "append", "MODE", "write map",
                               "how small values are written one by one: write (default), or map"},
};

bool sdi_cli_parse_size(const char *text, uint64_t *size) {
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (at == text || value == 0) return false;
    if (*at != '\0') {
        static const char suffixes[] = "KkMmGg";
        const char *suffix = strchr(suffixes, *at);
        if (suffix == NULL || at[1] != '\0') return false;
        unsigned shift = 10 * ((unsigned)(suffix - suffixes) / 2 + 1);
        if (value > UINT64_MAX >> shift) return false;
        value <<= shift;
    }
    *size = value;
    return true;
}

static bool set_size(const sdi_cli_option *option, const char *argument, uint64_t limit, uint64_t *size) {
    if (sdi_cli_parse_size(argument, size) && *size <= limit) return true;
    sdi_cli_usage_error(NULL, "--%s '%s' is not a size; give a number above 0, with K, M or G if you like",
                        option->long_name, argument);
    return false;
}

static bool parse_digits(const char *text, size_t length, unsigned base, uint64_t *number) {
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        uint64_t next = digit != NULL ? (uint64_t)(digit - digits) : base;
        if (next >= base || value > (UINT64_MAX - next) / base) return false;
        value = value * base + next;
    }
    *number = value;
    return length > 0;
}

static bool set_since(const char *argument, sdi_cli_options *options) {
    if (sdi_cli_parse_position(argument, &options->since)) return true;
    sdi_cli_usage_error(NULL, "--since '%s' is no position; give OFFSET:CHECK as an earlier run told it, or OFFSET",
                        argument);
    return false;
}

static bool set_number(const sdi_cli_option *option, const char *argument, uint64_t limit, uint64_t *number) {
    if (parse_digits(argument, strlen(argument), 10, number) && *number > 0 && *number <= limit) return true;
    sdi_cli_usage_error(NULL, "--%s '%s' is not a number above 0", option->long_name, argument);
    return false;
}

static bool set_saved_index(const char *argument, sdi_cli_options *options) {
    static const char *const modes[] = {[SIMDRIVE_SAVED_INDEX_AUTO] = "auto",
                                        [SIMDRIVE_SAVED_INDEX_OFF] = "off",
                                        [SIMDRIVE_SAVED_INDEX_ALWAYS] = "always"};
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
        options->saved_index = (simdrive_saved_index)i;
        if (strcmp(argument, modes[i]) == 0) return true;
    }
    sdi_cli_usage_error(NULL, "--saved-index '%s' is no mode; give auto, off or always", argument);
    return false;
}

static bool set_append(const char *argument, sdi_cli_options *options) {
    options->append = strcmp(argument, "map") == 0 ? SIMDRIVE_APPEND_MAP : SIMDRIVE_APPEND_WRITE;
    if (options->append == SIMDRIVE_APPEND_MAP || strcmp(argument, "write") == 0) return true;
    sdi_cli_usage_error(NULL, "--append '%s' is no mode; give write or map", argument);
    return false;
}

static bool set_checksum(const char *argument, sdi_cli_options *options) {
    if (strcmp(argument, "crc32c") == 0) {
        options->checksum = SIMDRIVE_CHECKSUM_CRC32C;
    } else if (strcmp(argument, "crc32") == 0) {
        options->checksum = SIMDRIVE_CHECKSUM_CRC32;
    } else {
        sdi_cli_usage_error(NULL, "--checksum '%s' is unknown; give crc32c or crc32", argument);
        return false;
    }
    return true;
}

static bool set_percent(const sdi_cli_option *option, const char *argument, unsigned *percent) {
    uint64_t value = 0;
    bool digits = argument[0] != '\0' && strspn(argument, "0123456789") == strlen(argument);
    if (digits && sdi_cli_parse_size(argument, &value) && value <= 100) {
        *percent = (unsigned)value;
        return true;
    }
    sdi_cli_usage_error(NULL, "--%s '%s' is not a percentage; give a number from 1 to 100", option->long_name,
                        argument);
    return false;
}

static bool set_option(unsigned id, const char *argument, sdi_cli_options *options) {
    const sdi_cli_option *option = &sdi_cli_option_table[id];
    uint64_t size = 0;
    options->given |= 1u << id;
    switch ((sdi_cli_option_id)id) {
    case SDI_CLI_OPTION_HELP: options->help = true; break;
    case SDI_CLI_OPTION_VERSION: options->version = true; break;
    case SDI_CLI_OPTION_QUIET: options->verbosity = -1; break;
    case SDI_CLI_OPTION_VERBOSE: options->verbosity = 1; break;
    case SDI_CLI_OPTION_JSON: options->json = true; break;
    case SDI_CLI_OPTION_PROMETHEUS: options->prometheus = true; break;
    case SDI_CLI_OPTION_HEX: options->hex = true; break;
    case SDI_CLI_OPTION_NAMESPACE: options->name_space = argument; break;
    case SDI_CLI_OPTION_BUFFER_SIZE:
        if (!set_size(option, argument, SIZE_MAX / 2, &size)) return false;
        options->buffer_size = (size_t)size;
        break;
    case SDI_CLI_OPTION_FORCE: options->force = true; break;
    case SDI_CLI_OPTION_SYNC: options->sync = true; break;
    case SDI_CLI_OPTION_CHECKSUM: return set_checksum(argument, options);
    case SDI_CLI_OPTION_PROGRESS: options->progress = SDI_CLI_PROGRESS_ALWAYS; break;
    case SDI_CLI_OPTION_NO_PROGRESS: options->progress = SDI_CLI_PROGRESS_NEVER; break;
    case SDI_CLI_OPTION_ENTRIES: return set_size(option, argument, UINT32_MAX, &options->entries);
    case SDI_CLI_OPTION_VALUE_SIZE: return set_size(option, argument, SIZE_MAX / 2, &options->value_size);
    case SDI_CLI_OPTION_SINCE: return set_since(argument, options);
    case SDI_CLI_OPTION_COUNT_OF: return set_number(option, argument, UINT64_MAX, &options->count);
    case SDI_CLI_OPTION_TIMEOUT: return set_number(option, argument, UINT32_MAX, &options->timeout_ms);
    case SDI_CLI_OPTION_NO_WAIT: options->no_wait = true; break;
    case SDI_CLI_OPTION_AT: return set_number(option, argument, UINT64_MAX, &options->at);
    case SDI_CLI_OPTION_SAVED_INDEX: return set_saved_index(argument, options);
    case SDI_CLI_OPTION_APPEND: return set_append(argument, options);
    case SDI_CLI_OPTION_IF_STALE: return set_percent(option, argument, &options->if_stale);
    case SDI_CLI_OPTION_COUNT: break;
    }
    return true;
}

/* The words not yet parsed. */
typedef struct words {
    char *const *next;
    char *const *end;
} words;

static bool take_argument(const sdi_cli_option *option, words *rest, const char **argument) {
    if (rest->next == rest->end) {
        sdi_cli_usage_error(NULL, "--%s needs an argument: %s", option->long_name, option->argument);
        return false;
    }
    *argument = *rest->next++;
    return true;
}

static bool parse_long(const char *word, words *rest, sdi_cli_options *options) {
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    for (unsigned id = 0; id < SDI_CLI_OPTION_COUNT; id++) {
        const sdi_cli_option *option = &sdi_cli_option_table[id];
        if (strlen(option->long_name) != length || strncmp(option->long_name, name, length) != 0) continue;
        if (option->argument == NULL && equals != NULL) {
            sdi_cli_usage_error(NULL, "--%s takes no argument", option->long_name);
            return false;
        }
        const char *argument = equals != NULL ? equals + 1 : NULL;
        if (option->argument != NULL && argument == NULL && !take_argument(option, rest, &argument)) return false;
        return set_option(id, argument, options);
    }
    sdi_cli_usage_error(NULL, "unknown option '%s'; write -- before keys and values that begin with a dash", word);
    return false;
}

static const sdi_cli_option *find_short(char letter) {
    for (unsigned id = 0; id < SDI_CLI_OPTION_COUNT; id++) {
        const sdi_cli_option *option = &sdi_cli_option_table[id];
        if (option->short_name != NULL && option->short_name[0] == letter) return option;
    }
    return NULL;
}

static bool parse_short(const char *word, words *rest, sdi_cli_options *options) {
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        const sdi_cli_option *option = find_short(*letter);
        if (option == NULL) {
            sdi_cli_usage_error(NULL, "unknown option '-%c' in '%s'; write -- before keys and values that begin with "
                                "a dash", *letter, word);
            return false;
        }
        unsigned id = (unsigned)(option - sdi_cli_option_table);
        if (option->argument == NULL) {
            if (!set_option(id, NULL, options)) return false;
            continue;
        }
        const char *argument = letter + 1;
        if (*argument == '\0' && !take_argument(option, rest, &argument)) return false;
        return set_option(id, argument, options);
    }
    return true;
}

bool sdi_cli_options_parse(char *const *arguments, size_t count, sdi_cli_options *options, char **operands,
                           size_t *operand_count) {
    words rest = {arguments, arguments + count};
    bool ended = false;
    *options = (sdi_cli_options){.name_space = ""};
    *operand_count = 0;
    while (rest.next < rest.end) {
        char *word = *rest.next++;
        if (ended || word[0] != '-' || word[1] == '\0') {
            operands[(*operand_count)++] = word;
        } else if (strcmp(word, "--") == 0) {
            ended = true;
        } else if (word[1] == '-') {
            if (!parse_long(word, &rest, options)) return false;
        } else if (!parse_short(word, &rest, options)) {
            return false;
        }
    }
    return true;
}
