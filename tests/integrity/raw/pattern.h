// What a flow carries: records of two little-endian words, the flow and the record's number. A byte says by itself to
// which flow and where it belongs; the other direction's pattern has the flow's complement.
#pragma once
#include <stdint.h>

static inline uint8_t pattern(uint64_t flow, uint64_t at) {
    uint64_t word = at / 8 % 2 ? at / 16 : flow;
    return word >> 8 * (at % 8);
}
