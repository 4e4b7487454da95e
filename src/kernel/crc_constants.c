/* SPDX-License-Identifier: Apache-2.0 */
/* crc_constants.c — the numbers that crc_constants.h defines. */
#include "kernel/crc_constants.h"

/* clang-format off */
const sdi_crc_constants sdi_crc_constants_of[2] = {
    [SDI_CRC32C] = {
        .by_128 = {0x3743f7bd00000000, 0x3171d43000000000},
        .by_256 = {0x33ccbbbc00000000, 0xa2158b3400000000},
        .by_384 = {0xa46ef4aa00000000, 0x6051243f00000000},
        .by_512 = {0x1c19243b00000000, 0x75bba45b00000000},
        .by_768 = {0xc92f998d00000000, 0x3365346a00000000},
        .by_1024 = {0x6577b24500000000, 0x7417153f00000000},
        .by_1536 = {0x7ccbbbf200000000, 0x31c9460800000000},
        .by_2048 = {0xe9a5d8be00000000, 0x1426a81500000000},
        .to_96 = {0x9e4addf800000000, 0x1c291d0400000000, 0xddc0152b00000000, 0x3da6d0cb00000000,
                  0xba4fc28e00000000, 0xf20c0dfe00000000, 0x493c7d2700000000, 0x0000000100000000},
        .quotient = 0x4869ec38dea713f1,
        .polynomial = 0x82f63b7800000000,
        .join_128 = {0xb9e02b86, 0x0d3b6092},
        .join_1024 = {0xa51b6135, 0x170076fa},
        .reflected = 0x82f63b78,
        .order = 0x7fffffff,
        .byte_pow = {0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
                     0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
                     0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc,
                     0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000, 0x08000000, 0x00800000},
    },
    [SDI_CRC32] = {
        .by_128 = {0x65673b4600000000, 0x9ba54c6f00000000},
        .by_256 = {0x9570d49500000000, 0x01b5fd1d00000000},
        .by_384 = {0x69ccfc0d00000000, 0x2a28386200000000},
        .by_512 = {0x653d982200000000, 0xcad38e8f00000000},
        .by_768 = {0x759fc69d00000000, 0x101a233100000000},
        .by_1024 = {0x7d657a1000000000, 0x7406fa9500000000},
        .by_1536 = {0x67f7947600000000, 0xc56d949600000000},
        .by_2048 = {0x7cc8e1e700000000, 0x03f9f86300000000},
        .to_96 = {0x1d9513d700000000, 0x3db1ecdc00000000, 0xaf44924700000000, 0xf1da05aa00000000,
                  0x8125652700000000, 0xae68919100000000, 0xccaa009e00000000, 0x0000000100000000},
        .quotient = 0xb4e5b025f7011641,
        .polynomial = 0xedb8832000000000,
        .join_128 = {0xe95c1271, 0x910eeec1},
        .join_1024 = {0x7b4aa8b7, 0xbbf2f6d6},
        .reflected = 0xedb88320,
        .order = 0xffffffff,
        .byte_pow = {0x00800000, 0x00008000, 0xedb88320, 0xb1e6b092, 0xa06a2517, 0xed627dae, 0x88d14467, 0xd7bbfe6a,
                     0xec447f11, 0x8e7ea170, 0x6427800e, 0x4d47bae0, 0x09fe548f, 0x83852d0f, 0x30362f1a, 0x7b5a9cc3,
                     0x31fec169, 0x9fec022a, 0x6c8dedc4, 0x15d6874d, 0x5fde7a4e, 0xbad90e37, 0x2e4e5eef, 0x4eaba214,
                     0xa8a472c0, 0x429a969e, 0x148d302a, 0xc40ba6d0, 0xc4e22c3c, 0x40000000, 0x20000000, 0x08000000},
    },
};

/* Multiplying by a power is linear, so a row of 256 is spanned by the eight bytes of one bit: from the highest bit to
 * the lowest these are pow(32 + 8 * k) .. pow(39 + 8 * k). The compiler builds the rows; no code runs before main. */
#define ENTRY(i, p0, p1, p2, p3, p4, p5, p6, p7) \
    (((i) & 128 ? p0 : 0) ^ ((i) & 64 ? p1 : 0) ^ ((i) & 32 ? p2 : 0) ^ ((i) & 16 ? p3 : 0) ^ \
     ((i) & 8 ? p4 : 0) ^ ((i) & 4 ? p5 : 0) ^ ((i) & 2 ? p6 : 0) ^ ((i) & 1 ? p7 : 0))
#define ENTRIES_4(i, ...) \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__), ENTRY((i) + 3, __VA_ARGS__)
#define ENTRIES_16(i, ...) \
    ENTRIES_4(i, __VA_ARGS__), ENTRIES_4((i) + 4, __VA_ARGS__), \
    ENTRIES_4((i) + 8, __VA_ARGS__), ENTRIES_4((i) + 12, __VA_ARGS__)
#define ENTRIES_64(i, ...) \
    ENTRIES_16(i, __VA_ARGS__), ENTRIES_16((i) + 16, __VA_ARGS__), \
    ENTRIES_16((i) + 32, __VA_ARGS__), ENTRIES_16((i) + 48, __VA_ARGS__)
#define SLICE(...) \
    {ENTRIES_64(0, __VA_ARGS__), ENTRIES_64(64, __VA_ARGS__), \
     ENTRIES_64(128, __VA_ARGS__), ENTRIES_64(192, __VA_ARGS__)}

const sdi_crc_slices sdi_crc_slices_of[2] = {
    [SDI_CRC32C] = {
        SLICE(0x82f63b78, 0x417b1dbc, 0x20bd8ede, 0x105ec76f, 0x8ad958cf, 0xc79a971f, 0xe13b70f7, 0xf26b8303),
        SLICE(0xfbc3faf9, 0xff17c604, 0x7f8be302, 0x3fc5f181, 0x9d14c3b8, 0x4e8a61dc, 0x274530ee, 0x13a29877),
        SLICE(0x8b277743, 0xc76580d9, 0xe144fb14, 0x70a27d8a, 0x38513ec5, 0x9edea41a, 0x4f6f520d, 0xa541927e),
        SLICE(0x52a0c93f, 0xaba65fe7, 0xd725148b, 0xe964b13d, 0xf64463e6, 0x7b2231f3, 0xbf672381, 0xdd45aab8),
        SLICE(0x6ea2d55c, 0x37516aae, 0x1ba8b557, 0x8f2261d3, 0xc5670b91, 0xe045beb0, 0x7022df58, 0x38116fac),
        SLICE(0x1c08b7d6, 0x0e045beb, 0x85f4168d, 0xc00c303e, 0x6006181f, 0xb2f53777, 0xdb8ca0c3, 0xef306b19),
        SLICE(0xf56e0ef4, 0x7ab7077a, 0x3d5b83bd, 0x9c5bfaa6, 0x4e2dfd53, 0xa5e0c5d1, 0xd0065990, 0x68032cc8),
        SLICE(0x34019664, 0x1a00cb32, 0x0d006599, 0x847609b4, 0x423b04da, 0x211d826d, 0x9278fa4e, 0x493c7d27),
        SLICE(0xa66805eb, 0xd1c2398d, 0xea1727be, 0x750b93df, 0xb873f297, 0xdecfc233, 0xed91da61, 0xf43ed648),
        SLICE(0x7a1f6b24, 0x3d0fb592, 0x1e87dac9, 0x8db5d61c, 0x46daeb0e, 0x236d7587, 0x934081bb, 0xcb567ba5),
        SLICE(0xe75d06aa, 0x73ae8355, 0xbb217ad2, 0x5d90bd69, 0xac3e65cc, 0x561f32e6, 0x2b0f9973, 0x9771f7c1),
        SLICE(0xc94ec098, 0x64a7604c, 0x3253b026, 0x1929d813, 0x8e62d771, 0xc5c750c0, 0x62e3a860, 0x3171d430),
        SLICE(0x18b8ea18, 0x0c5c750c, 0x062e3a86, 0x03171d43, 0x837db5d9, 0xc348e194, 0x61a470ca, 0x30d23865),
        SLICE(0x9a9f274a, 0x4d4f93a5, 0xa451f2aa, 0x5228f955, 0xabe247d2, 0x55f123e9, 0xa80eaa8c, 0x54075546),
        SLICE(0x2a03aaa3, 0x97f7ee29, 0xc90dcc6c, 0x6486e636, 0x3243731b, 0x9bd782f5, 0xcf1dfa02, 0x678efd01),
        SLICE(0xb13145f8, 0x5898a2fc, 0x2c4c517e, 0x162628bf, 0x89e52f27, 0xc604aceb, 0xe1f46d0d, 0xf20c0dfe),
    },
    [SDI_CRC32] = {
        SLICE(0xedb88320, 0x76dc4190, 0x3b6e20c8, 0x1db71064, 0x0edb8832, 0x076dc419, 0xee0e612c, 0x77073096),
        SLICE(0x3b83984b, 0xf0794f05, 0x958424a2, 0x4ac21251, 0xc8d98a08, 0x646cc504, 0x32366282, 0x191b3141),
        SLICE(0xe1351b80, 0x709a8dc0, 0x384d46e0, 0x1c26a370, 0x0e1351b8, 0x0709a8dc, 0x0384d46e, 0x01c26a37),
        SLICE(0xed59b63b, 0x9b14583d, 0xa032af3e, 0x5019579f, 0xc5b428ef, 0x8f629757, 0xaa09c88b, 0xb8bc6765),
        SLICE(0xb1e6b092, 0x58f35849, 0xc1c12f04, 0x60e09782, 0x30704bc1, 0xf580a6c0, 0x7ac05360, 0x3d6029b0),
        SLICE(0x1eb014d8, 0x0f580a6c, 0x07ac0536, 0x03d6029b, 0xec53826d, 0x9b914216, 0x4dc8a10b, 0xcb5cd3a5),
        SLICE(0x8816eaf2, 0x440b7579, 0xcfbd399c, 0x67de9cce, 0x33ef4e67, 0xf44f2413, 0x979f1129, 0xa6770bb4),
        SLICE(0x533b85da, 0x299dc2ed, 0xf9766256, 0x7cbb312b, 0xd3e51bb5, 0x844a0efa, 0x4225077d, 0xccaa009e),
        SLICE(0x6655004f, 0xde920307, 0x82f182a3, 0xacc04271, 0xbbd8a218, 0x5dec510c, 0x2ef62886, 0x177b1443),
        SLICE(0xe6050901, 0x9eba07a0, 0x4f5d03d0, 0x27ae81e8, 0x13d740f4, 0x09eba07a, 0x04f5d03d, 0xefc26b3e),
        SLICE(0x77e1359f, 0xd64819ef, 0x869c8fd7, 0xaef6c4cb, 0xbac3e145, 0xb0d97382, 0x586cb9c1, 0xc18edfc0),
        SLICE(0x60c76fe0, 0x3063b7f0, 0x1831dbf8, 0x0c18edfc, 0x060c76fe, 0x03063b7f, 0xec3b9e9f, 0x9ba54c6f),
        SLICE(0xa06a2517, 0xbd8d91ab, 0xb37e4bf5, 0xb407a6da, 0x5a03d36d, 0xc0b96a96, 0x605cb54b, 0xdd96d985),
        SLICE(0x8373efe2, 0x41b9f7f1, 0xcd6478d8, 0x66b23c6c, 0x33591e36, 0x19ac8f1b, 0xe16ec4ad, 0x9d0fe176),
        SLICE(0x4e87f0bb, 0xcafb7b7d, 0x88c53e9e, 0x44629f4f, 0xcf89cc87, 0x8a7c6563, 0xa886b191, 0xb9fbdbe8),
        SLICE(0x5cfdedf4, 0x2e7ef6fa, 0x173f7b7d, 0xe6273e9e, 0x73139f4f, 0xd4314c87, 0x87a02563, 0xae689191),
    },
};
/* clang-format on */
