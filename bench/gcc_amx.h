// Included before every C++ file of llama.cpp where gcc is older than 13 (see bench/setup).
//
// The header of those compilers says that `ldtilecfg` reads 8 bytes of the tile configuration; it reads 64. The optimiser
// then drops the stores of the other 56, and the first prompt ends in a crash. This says 64.
#if defined(__AMX_TILE__) && defined(__cplusplus)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(config)))
#endif
