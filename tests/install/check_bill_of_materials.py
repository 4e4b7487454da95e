# SPDX-License-Identifier: Apache-2.0
"""check_bill_of_materials.py FILE SOURCES: the installed bill of materials is an SPDX 2.3 document, describes this
library, and names every foreign header that the sources include (those of the C library and the system aside)."""
import json
import pathlib
import re
import sys

SYSTEM = re.compile(
    r"(arm_\w+|asm/\w+|assert|cpuid|ctype|dirent|emmintrin|errno|fcntl|float|immintrin|inttypes|"
    r"io|intrin|libgen|limits|linux/\w+|mach/\w+|math|poll|pthread|sched|signal|"
    r"stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|sys/\w+|"
    r"time|ucontext|unistd|wchar|winbase|windows|winioctl|psapi|process|setjmp)\.h"
)


def foreign_headers(sources):
    for path in sorted(sources.rglob("*.[ch]")):
        for name in re.findall(r"^ *# *include <([^>]+)>", path.read_text(), re.MULTILINE):
            if not SYSTEM.fullmatch(name) and name != "simdrive.h":
                yield name


def main(file, sources):
    bill = json.loads(pathlib.Path(file).read_text())
    assert bill["spdxVersion"] == "SPDX-2.3" and bill["SPDXID"] == "SPDXRef-DOCUMENT", "no SPDX 2.3 document"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bill["creationInfo"]["created"]), "no time"
    packages = {package["name"]: package for package in bill["packages"]}
    for package in packages.values():
        for field in ("SPDXID", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"):
            assert package.get(field), f"{package['name']} has no {field}"
    for name in ("simdrive", "xxhash"):
        assert re.fullmatch(r"\d+\.\d+\.\d+", packages[name]["versionInfo"]), f"{name} has no version"
    ends = {end for link in bill["relationships"] for end in (link["spdxElementId"], link["relatedSpdxElement"])}
    assert ends == {package["SPDXID"] for package in packages.values()} | {bill["SPDXID"]}, f"relationships: {ends}"
    unnamed = sorted({name for name in foreign_headers(pathlib.Path(sources)) if name[: -len(".h")] not in packages})
    assert not unnamed, f"included, but in no package of the bill: {unnamed}"


main(*sys.argv[1:])
